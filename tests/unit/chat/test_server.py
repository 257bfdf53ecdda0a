# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The client of a server's chat API, against a real HTTP server."""

import os
import pathlib
import signal
import socket
import subprocess
import typing
from collections.abc import Iterator

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import trust as server_trust
from ansible_collections.llama_fleet.core.tests.unit.module_runs import free_port
from llama_fleet.chat import server as chat_server
from llama_fleet.chat.server import KeyRefusedError, Piece, Server, ServerError, Target, Totals, UnreachableError
from llama_fleet.errors import FleetError
from tests.unit.chat import llama

QUESTION = [{"role": "user", "content": "Which colour?"}]


def ask(behaviour: llama.Behaviour, key: str = "", **options: object) -> list[Piece | Totals]:
    with llama.serving(behaviour) as server:
        return list(Server(Target(llama.url(server), key)).answer(QUESTION, **options))


def test_an_answer_comes_in_pieces_with_the_servers_own_figures() -> None:
    behaviour = llama.Behaviour()
    assert ask(behaviour, "k3y", max_tokens=64) == [Piece(" Blue"), Piece(" sky."), Totals(5, 12.5)]
    [(path, key, body)] = behaviour.asked
    assert (path, key) == ("/v1/chat/completions", "Bearer k3y")
    assert body == {"messages": QUESTION, "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 64}


def test_reasoning_and_a_limit_are_told_apart() -> None:
    cut = {"choices": [{"index": 0, "finish_reason": "length", "delta": {}}]}
    thought = {"choices": [{"index": 0, "finish_reason": None, "delta": {"reasoning_content": "Hm."}}]}
    assert ask(llama.Behaviour(chunks=[thought, llama.chunk("A"), cut])) == [
        Piece("Hm.", reasoning=True),
        Piece("A"),
        Totals(cut=True),
    ]


def test_the_first_piece_is_there_before_the_last_is_sent() -> None:
    gate = socket.socketpair()

    def chunks() -> Iterator[object]:
        yield llama.chunk("one")
        gate[0].recv(1)
        yield llama.chunk("two")

    behaviour = llama.Behaviour(chunks=typing.cast("list[object]", chunks()))
    with llama.serving(behaviour) as server, gate[0], gate[1]:
        answer = Server(Target(llama.url(server))).answer(QUESTION)
        assert next(answer) == Piece("one")
        gate[1].send(b"x")
        assert list(answer) == [Piece("two"), Totals()]


@pytest.mark.parametrize(
    ("refusal", "kind", "sentence"),
    [
        ((401, {"error": {"message": "Invalid API Key"}}), KeyRefusedError, "wants another API key. Fix: Put it into"),
        ((503, {"error": {"message": "Loading model"}}), ServerError, "is not ready: Loading model. Fix: Try again"),
        ((400, llama.FULL), ServerError, "The conversation is too long: request (9 tokens) exceeds it. Fix: "),
        ((501, {"error": {"message": "no chat.\x1b[2J"}}), ServerError, "The server answered 501: no chat.\\x1b[2J."),
        ((500, b"<html>"), ServerError, "The server answered 500: it gave no reason."),
        ((500, b"x" * (chat_server.MOST_BODY + 5)), ServerError, "The server answered 500: it gave no reason."),
        ((500, {"error": 5}), ServerError, "The server answered 500: it gave no reason."),
        ((302, {}), ServerError, "The server answered 302: it gave no reason."),
    ],
)
def test_what_the_server_refuses_is_a_sentence(
    refusal: tuple[int, object], kind: type[FleetError], sentence: str
) -> None:
    with pytest.raises(kind) as error:
        ask(llama.Behaviour(refusal=refusal))
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("chunks", "sentence"),
    [
        ([b"data: {\n\n"], "cannot be used: a part of its answer is not JSON"),
        ([b"data: " + b"[" * 100_000 + b"\n\n"], "cannot be used: a part of its answer is not JSON"),
        ([llama.chunk() | {"choices": [{}] * 17}], "17 entries, expected 16 at most"),
        ([{"choices": [{"delta": {"content": 5}}]}], "content is not a text"),
        ([{"error": {"message": "slot\x1b lost", "type": "server_error"}}], "The server failed: slot\\x1b lost."),
    ],
)
def test_a_broken_stream_is_a_sentence(chunks: list[object], sentence: str) -> None:
    with pytest.raises(ServerError) as error:
        ask(llama.Behaviour(chunks=chunks))
    assert sentence in str(error.value)


def test_an_event_without_an_end_is_not_kept() -> None:
    with pytest.raises(UnreachableError, match=f"exceeded the {chat_server.MOST_BODY} byte limit"):
        ask(llama.Behaviour(chunks=[b"data: ", *[b"x" * 65536] * 20]))


def test_an_answer_without_an_end_is_cut() -> None:
    pieces = ask(llama.Behaviour(chunks=[llama.chunk("x" * 400_000)] * 5))
    assert pieces[2:] == [Totals(cut=True)]


def test_a_reply_that_is_no_stream_is_a_sentence() -> None:
    with pytest.raises(UnreachableError, match="Expected response with content type 'text/event-stream'"):
        ask(llama.Behaviour(content_type="text/html"))


def test_text_that_is_no_unicode_can_be_sent_again() -> None:
    assert ask(llama.Behaviour(chunks=[b'data: {"choices":[{"delta":{"content":"\\ud800"}}]}\n\n'])) == [
        Piece("?"),
        Totals(),
    ]


@pytest.mark.parametrize(
    "drip",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 50_000,
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + b": no event\n" * 5000,
    ],
    ids=["headers", "comments"],
)
def test_a_server_that_never_ends_is_left(drip: bytes) -> None:
    with llama.serving(llama.Behaviour(drip=drip)) as server, pytest.raises(UnreachableError) as error:
        list(Server(Target(llama.url(server)), answer_seconds=1).answer(QUESTION))
    assert "gave no answer: no end of its answer within 1 s. Fix: " in str(error.value)


def test_a_closed_port_is_a_sentence_with_its_own_exit_status() -> None:
    with pytest.raises(UnreachableError, match=r"gave no answer: .*refused") as error:
        list(Server(Target(f"http://127.0.0.1:{free_port()}")).answer(QUESTION))
    assert error.value.exit_code == 3


def test_models_are_listed() -> None:
    with llama.serving() as server:
        assert Server(Target(llama.url(server))).models() == ["small", "large"]


@pytest.mark.parametrize("models", [{"data": [{}]}, {"data": "no"}, [], {"data": [{"id": "x" * 5000}]}])
def test_an_impossible_list_of_models_is_refused(models: object) -> None:
    with llama.serving(llama.Behaviour(models=models)) as server, pytest.raises(ServerError, match="cannot be used"):
        Server(Target(llama.url(server))).models()


@pytest.mark.parametrize("interface", [True, False])
def test_the_web_interface_is_looked_for_without_the_key(interface: bool) -> None:
    behaviour = llama.Behaviour(interface=interface)
    with llama.serving(behaviour) as server:
        assert Server(Target(llama.url(server), "k3y")).has_interface() is interface
    assert behaviour.asked == [("/", "", None)]


def own(key: str = "", certificate: str = "") -> server_trust.Trust:
    process = processes.find(os.getpid())
    assert process
    return server_trust.Trust(process, certificate, key)


def test_an_own_instance_is_asked() -> None:
    with llama.serving() as server:
        assert len(list(Server(Target(llama.url(server), "k3y", trust=own())).answer(QUESTION))) == 3


def test_another_process_on_the_port_gets_no_key() -> None:
    behaviour = llama.Behaviour()
    with llama.serving(behaviour) as server, subprocess.Popen(["sleep", "600"]) as other:
        process = processes.find(other.pid)
        assert process
        target = Target(llama.url(server), "k3y", trust=server_trust.Trust(process))
        with pytest.raises(UnreachableError, match=f"port {server.server_port} is held by pid {os.getpid()}"):
            list(Server(target).answer(QUESTION))
        other.send_signal(signal.SIGKILL)
    assert behaviour.asked == []


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Make a certificate for localhost by name and address, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = str(folder / "c.pem"), str(folder / "k.pem")
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(words, check=True, capture_output=True)
    return certificate, key


def test_a_named_certificate_is_trusted_and_no_other(pair: tuple[str, str]) -> None:
    with llama.serving(pair=pair) as server:
        base = llama.url(server, "https")
        assert Server(Target(base, authority=pair[0])).models() == ["small", "large"]
        with pytest.raises(UnreachableError, match="certificate"):
            Server(Target(base)).models()


def test_an_own_instance_shows_its_own_certificate(pair: tuple[str, str], tmp_path: pathlib.Path) -> None:
    other = tmp_path / "other.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", "/dev/null"]
    subprocess.run([*words, "-out", str(other)], check=True, capture_output=True)
    behaviour = llama.Behaviour()
    with llama.serving(behaviour, pair) as server:
        base = llama.url(server, "https")
        trusted = own(certificate=server_trust.leaf(pair[0]))
        assert Server(Target(base, "k3y", trust=trusted)).models() == ["small", "large"]
        with pytest.raises(UnreachableError, match="certificate"):
            Server(Target(base, "k3y", trust=own(certificate=server_trust.leaf(str(other))))).models()
    assert len(behaviour.asked) == 1


def test_a_file_without_certificates_is_a_sentence(tmp_path: pathlib.Path) -> None:
    (tmp_path / "c.pem").write_text("no", encoding="ascii")
    with pytest.raises(FleetError, match=r"c\.pem: expected certificates in PEM"):
        Server(Target("https://127.0.0.1:1", authority=str(tmp_path / "c.pem"))).models()


def test_no_key_is_in_what_is_shown_of_a_target() -> None:
    assert "k3y" not in repr(Server(Target("http://h:1", "k3y")))


RELEASE, MODEL = (os.environ.get(f"LLAMA_FLEET_TEST_{name}", "") for name in ("RELEASE", "MODEL"))


@pytest.mark.skipif(
    not (RELEASE and MODEL),
    reason="needs LLAMA_FLEET_TEST_RELEASE, a release of llama.cpp, and LLAMA_FLEET_TEST_MODEL, a GGUF file",
)
def test_a_real_server_streams_counts_and_refuses() -> None:
    port = free_port()
    words = [f"{RELEASE}/bin/llama-server", "--model", MODEL, "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(
        [*words, "--ctx-size", "512", "--parallel", "1", "--threads", "1"],
        env={**os.environ, "LLAMA_API_KEY": "k3y"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            identity = _until_ready(process.pid, port)
            server = Server(Target(f"http://127.0.0.1:{port}", "k3y", trust=identity))
            *pieces, totals = server.answer(QUESTION, max_tokens=8, temperature=0)
            assert len(pieces) == 8
            assert isinstance(totals, Totals)
            assert (totals.tokens, totals.cut, totals.speed > 0) == (8, True, True)
            assert len(server.models()) == 1
            assert not server.has_interface()
            with pytest.raises(ServerError, match="The conversation is too long: request "):
                list(server.answer([{"role": "user", "content": "word " * 2000}]))
            with pytest.raises(KeyRefusedError):
                list(Server(Target(f"http://127.0.0.1:{port}")).answer(QUESTION))
        finally:
            process.kill()


def _until_ready(pid: int, port: int) -> server_trust.Trust:
    """Wait for at most two minutes until the server answers."""
    process = processes.find(pid)
    assert process
    for _try in range(1200):
        try:
            if Server(Target(f"http://127.0.0.1:{port}", "k3y")).models():
                return server_trust.Trust(process)
        except FleetError:
            signal.sigtimedwait([], 0.1)
    raise AssertionError("the server is not ready")
