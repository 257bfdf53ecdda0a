# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The image's health check, before there is a server and against real ones."""

import contextlib
import http.server
import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from llama_fleet.container import health, record, startlog
from tests.unit import imports
from tests.unit.container.fake_volume import SETTINGS, Volume


class Server(http.server.ThreadingHTTPServer):
    """Answers ``path`` with ``status``, all else with 404."""

    status = 200
    path = "/health"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(
            self.server.status if isinstance(self.server, Server) and self.path == self.server.path else 404
        )
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def volume(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Volume:
    made = Volume(tmp_path)
    monkeypatch.setattr(record, "STATE", str(made.state))
    monkeypatch.setattr(startlog, "PHASE", str(made.phase))
    return made


@contextlib.contextmanager
def serving(address: str, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    with Server((address, 0), Handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            yield server
        finally:
            server.shutdown()


@pytest.fixture
def server(volume: Volume) -> Iterator[Server]:
    # Only on this address: one that listens elsewhere is not found.
    with serving("127.0.0.2") as server:
        begin(volume, server, "127.0.0.2")
        yield server


def begin(volume: Volume, server: Server, host: str, *flags: str) -> None:
    """As a start that ends with a server."""
    assert volume.phase.parent.is_dir()
    startlog.phase(
        startlog.SERVING,
        "serving",
        **startlog.address(["llama-server", "--host", host, "--port", str(server.server_port), *flags], {}),
    )


@pytest.mark.parametrize(
    ("status", "expected", "text"),
    [(200, 0, "serving"), (503, 1, "loading the model"), (204, 1, "/health answered 204")],
)
def test_it_is_what_the_server_says_of_itself(
    server: Server, status: int, expected: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.status = status
    assert health.main() == expected
    assert capsys.readouterr().out == f"{text}\n"


@pytest.mark.usefixtures("server")
def test_before_there_is_a_server_it_says_how_far_the_start_is_and_asks_nobody(
    capsys: pytest.CaptureFixture[str],
) -> None:
    startlog.phase(startlog.PREPARING, "building llama.cpp: 42 %")
    assert health.main() == 1
    assert capsys.readouterr().out == "building llama.cpp: 42 %\n"


@pytest.mark.parametrize(("host", "address"), [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1")])
def test_who_listens_everywhere_is_asked_on_this_machine(volume: Volume, host: str, address: str) -> None:
    with serving(address) as server:
        begin(volume, server, host)
        assert health.main() == 0


def test_a_prefix_is_part_of_the_path(volume: Volume, server: Server) -> None:
    server.path = "/api/health"
    assert health.main() == 1
    begin(volume, server, "127.0.0.2", "--api-prefix", "/api")
    assert health.main() == 0


def test_a_server_with_a_certificate_of_any_name_is_asked_by_https(volume: Volume, tmp_path: pathlib.Path) -> None:
    key, certificate = tmp_path / "k.pem", tmp_path / "c.pem"
    request = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=llama.example.com",
    ]
    subprocess.run([*request, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving("127.0.0.1", context) as server:
        begin(volume, server, "0.0.0.0", "--ssl-cert-file", str(certificate))
        assert health.main() == 0
        # The file was renewed, and the server still shows the certificate that it began with.
        subprocess.run([*request, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
        assert health.main() == 0
        begin(volume, server, "0.0.0.0")
        assert health.main() == 1


def test_without_a_word_of_the_start_the_record_tells_the_port(volume: Volume) -> None:
    assert health.main() == 1
    with serving("127.0.0.1") as server:
        volume.record(SETTINGS)
        assert health.main() == 1
        manifest = pathlib.Path(record.read()["generation"]) / "manifest.json"
        told = json.loads(manifest.read_text(encoding="utf-8"))
        told["environment"]["LLAMA_ARG_PORT"] = str(server.server_port)
        manifest.unlink()
        manifest.write_text(json.dumps(told), encoding="utf-8")
        assert health.main() == 0


def test_where_nobody_listens_it_is_unhealthy_and_says_so(volume: Volume) -> None:
    script = f"{volume.patches()}import sys\nfrom llama_fleet.container import health\nsys.exit(health.main())"
    environment = {**os.environ, "PYTHONPATH": imports.PYTHONPATH}
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        startlog.phase(
            startlog.SERVING,
            "serving",
            **startlog.address(["s", "--host", "127.0.0.1", "--port", str(bound.getsockname()[1])], {}),
        )
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "")
    assert "Connection refused" in done.stdout


def test_who_does_not_speak_http_is_unhealthy(volume: Volume) -> None:
    assert not volume.phase.exists()
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(10)
        startlog.phase(startlog.SERVING, "", **startlog.address(["s", "--port", str(other.getsockname()[1])], {}))

        def answer() -> None:
            connection, _address = other.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert health.main() == 1
        thread.join()
