"""A real HAProxy with a gateway's files in a folder, and clients that talk through it."""

from __future__ import annotations

import dataclasses
import http.client
import json
import socket
import subprocess
import threading
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gateway import config, contents
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.options import Options, option_problems
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.runtime import RuntimeSocket
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.servers import Server, grouped, server_problems
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.traffic import Traffic

if typing.TYPE_CHECKING:
    import pathlib

    from tests.gateway.standin import StandIn

KEY = "a-key-of-the-tests"
CHAT = "/v1/chat/completions"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server_of(standin: StandIn, model: str, slots: int = 4, **more: typing.Any) -> Server:
    return Server(f"{standin.name}/default", model, "127.0.0.1", standin.port, slots, **more)


@dataclasses.dataclass(frozen=True)
class Answer:
    """A whole answer; ``text`` is decoded."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> typing.Any:
        return json.loads(self.text)

    @property
    def error(self) -> str:
        return str(self.json["error"]["message"])


class Gateway:
    """HAProxy in the foreground with the files that the role would write."""

    def __init__(self, folder: pathlib.Path, servers: typing.Sequence[Server], **given: typing.Any) -> None:
        root, run = folder / "root", folder / "run"
        root.mkdir()
        run.mkdir()
        values = {"api_keys": {"ann": KEY}, **given}
        self.options = Options(port=free_port(), metrics_port=free_port(), root=root, runtime_root=run, **values)
        self.log = folder / "log"
        self.runtime = RuntimeSocket(run / config.SOCKET)
        self.traffic = Traffic(self.runtime, root)
        self.servers = servers
        self.write()
        self._output = self.log.open("w", encoding="utf-8")
        self._process = subprocess.Popen(
            ["haproxy", "-W", "-f", str(root / config.CONFIGURATION)], stdout=self._output, stderr=self._output
        )

    def write(self) -> None:
        models = grouped(self.servers, self.options.more_aliases)
        assert [*option_problems(self.options), *server_problems(models, self.options.more_aliases)] == []
        for name, text in contents.contents(self.options, models).items():
            (self.options.root / name).write_text(text, encoding="utf-8")
        (self.options.root / contents.HOLDS).touch()
        text = config.render(self.options, models)
        (self.options.root / config.CONFIGURATION).write_text(text, encoding="utf-8")

    def wait_up(self, count: int) -> None:
        """Wait until ``count`` servers of the main back ends take requests."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if self.runtime.path.exists() and len(self.up()) == count:
                return
            assert self._process.poll() is None, self.log.read_text(encoding="utf-8")
            time.sleep(0.05)
        raise AssertionError(f"expected {count} servers to be up\n{self.log.read_text(encoding='utf-8')}")

    def up(self) -> list[str]:
        servers = self.runtime.seen().servers
        return [server.name for server in servers if server.serves and not server.backend.startswith("small-")]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._output.close()

    def lines(self, least: int) -> list[dict[str, typing.Any]]:
        """Return the JSON lines of the log, one for each request, once there are ``least``: it follows the answer."""
        end = time.monotonic() + 10
        while True:
            texts = [text for text in self.log.read_text(encoding="utf-8").splitlines() if text.startswith("{")]
            if len(texts) >= least or time.monotonic() > end:
                return [json.loads(text) for text in texts]
            time.sleep(0.05)

    def ask(self, body: typing.Any = None, path: str = CHAT, **more: typing.Any) -> Answer:
        """Send a request; raises OSError or HTTPException if the connection is cut."""
        return send("127.0.0.1", self.options.port, body, path, **more)

    def crowd(self, models: typing.Sequence[str], clients: int) -> Crowd:
        events = 10

        def whole(text: str) -> bool:
            return text.count("data: {") == events and "[DONE]" in text

        return Crowd(
            lambda body, session: self.ask(body, headers={"x-session-id": session}),
            whole,
            models,
            clients,
            {"events": events},
        )


def send(
    address: str,
    port: int,
    body: typing.Any = None,
    path: str = CHAT,
    key: str = KEY,
    method: str = "POST",
    headers: typing.Mapping[str, str] | None = None,
    timeout: float = 120,
) -> Answer:
    """Send a request and return the whole answer; raises OSError or HTTPException if the connection is cut."""
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    sent = {**({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
    try:
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode())
    finally:
        connection.close()


class Crowd:
    """Clients that ask one model again and again, every second one for a stream, until they are stopped.

    ``ask`` sends a body with a session's name; ``whole`` tells whether the text of a stream has its end.
    """

    def __init__(
        self,
        ask: typing.Callable[[dict[str, typing.Any], str], Answer],
        whole: typing.Callable[[str], bool],
        models: typing.Sequence[str],
        clients: int,
        body: typing.Mapping[str, typing.Any],
    ) -> None:
        self.done = 0
        self.failures: list[str] = []
        self._ask, self._whole, self._body = ask, whole, body
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(number, models[number % len(models)])) for number in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int, model: str) -> None:
        turn = number
        while not self._stopping.is_set():
            turn += 1
            failure = self._failure({**self._body, "model": model, "stream": bool(turn % 2)})
            with self._lock:
                self.done += 1
                self.failures += [failure] if failure else []

    def _failure(self, body: dict[str, typing.Any]) -> str:
        try:
            answer = self._ask(body, str(time.monotonic_ns()))
        except (OSError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}"
        if answer.status != 200:
            return f"{answer.status} {answer.text}"
        return f"a cut stream: {answer.text[-100:]}" if body["stream"] and not self._whole(answer.text) else ""

    def wait_for(self, requests: int, seconds: float = 120) -> None:
        """Wait until so many more requests have ended."""
        goal = self.done + requests
        end = time.monotonic() + seconds
        while self.done < goal and time.monotonic() < end:
            time.sleep(0.02)
        assert self.done >= goal

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(600)
