# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test over real sockets that only the instance's own process with its own certificate is trusted on its port."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import ports, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import client as server_asking
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import metrics as server_metrics
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import trust as server_trust
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.trust import StrangerError, Trust
from ansible_collections.llama_fleet.core.tests.unit.fakes.metrics_server import healthy, here, serving

if typing.TYPE_CHECKING:
    import pathlib

KEY = "s3cret-key"
_LISTENER = """
import socket, sys, time
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
listener.bind((sys.argv[1], int(sys.argv[2])))
listener.listen()
print(listener.getsockname()[1], flush=True)
while True:
    peer = listener.accept()[0]
    print(peer.recv(65536), flush=True)
    peer.close()
"""


@contextlib.contextmanager
def another(host: str = "127.0.0.1", port: int = 0) -> typing.Iterator[tuple[subprocess.Popen[str], int]]:
    """Start another process that listens there and records its requests; yield it and its port."""
    child = subprocess.Popen([sys.executable, "-c", _LISTENER, host, str(port)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        yield child, int(child.stdout.readline())
    finally:
        child.kill()
        child.communicate()


def process_of(child: subprocess.Popen[str]) -> processes.Process:
    found = processes.find(child.pid)
    assert found is not None
    return found


def test_only_the_instance_is_given_the_key_and_not_for_its_health() -> None:
    fake = healthy(key=KEY)
    with serving(fake):
        fetch = server_metrics.fetcher(f"http://127.0.0.1:{fake.port}", here(KEY))
        assert [fetch(path).status for path in ("/health", "/slots")] == [200, 200]
    assert fake.keys == ["", f"Bearer {KEY}"]


def test_without_trust_no_key_is_sent() -> None:
    fake = healthy(key=KEY)
    with serving(fake):
        assert server_metrics.fetcher(f"http://127.0.0.1:{fake.port}")("/slots").status == 401
    assert fake.keys == [""]


def test_a_stranger_on_the_port_is_named_and_is_not_even_connected_to() -> None:
    with another() as (child, port), another() as (own, _port):
        trust = Trust(process_of(own), key=KEY)
        with pytest.raises(StrangerError) as raised:
            server_asking.asker(f"http://127.0.0.1:{port}", trust)("/health", None, 5)
        me = pwd.getpwuid(os.getuid()).pw_name
        assert (
            str(raised.value)
            == f"port {port} is held by pid {child.pid} ({processes.name(child.pid)}), of the user {me}"
        )
        assert server_metrics.fetcher(f"http://127.0.0.1:{port}", trust)("/slots") == server_metrics.Reply(
            0, str(raised.value)
        )
        child.kill()
        assert child.stdout is not None
        assert child.stdout.read() == ""


def test_a_second_listener_beside_the_instance_is_a_stranger() -> None:
    with another() as (child, port):
        trust = Trust(process_of(child), key=KEY)
        with another(port=port) as (second, _port):
            with pytest.raises(StrangerError, match=rf"pid {second.pid} "):
                server_asking.asker(f"http://127.0.0.1:{port}", trust)("/props", None, 5)
            second.kill()
            second.wait()
            assert len(trust.listening("127.0.0.1", port)) == 1


@pytest.mark.parametrize(("address", "reached"), [("0.0.0.0", True), ("127.0.0.2", False)])
def test_only_listeners_that_could_get_the_connection_count(address: str, reached: bool) -> None:
    with another() as (child, port):
        trust = Trust(process_of(child))
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            other.bind((address, port))
            other.listen()
            with pytest.raises(StrangerError) if reached else contextlib.nullcontext():
                assert len(trust.listening("127.0.0.1", port)) == 1


def test_what_the_instance_has_started_belongs_to_it() -> None:
    with another() as (child, port):
        assert len(here().listening("127.0.0.1", port)) == 1
        assert not processes.descends(os.getpid(), child.pid)


def test_a_socket_that_is_replaced_while_it_is_connected_to_is_given_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process listens at the moment of the connection, and the instance only before and after it."""
    fake = healthy(key=KEY)
    with serving(fake):
        trust = here(KEY)
        seen = iter([frozenset({"1"}), frozenset({"2"})])
        monkeypatch.setattr(Trust, "listening", lambda *_arguments: next(seen))
        reply = server_asking.asker(f"http://127.0.0.1:{fake.port}", trust)("/slots", None, 5)
    assert (reply.status, reply.text, fake.keys) == (0, "its socket was replaced during the connection", [])


@pytest.mark.parametrize(("uid", "is_own"), [(os.getuid(), True), (os.getuid() + 1, False)])
def test_where_no_files_can_be_seen_the_user_of_the_socket_decides(
    monkeypatch: pytest.MonkeyPatch, uid: int, is_own: bool
) -> None:
    monkeypatch.setattr(processes, "open_files", lambda *_arguments: [])
    monkeypatch.setattr(ports, "listeners", lambda *_arguments: [ports.Listener("127.0.0.1", 1, 0, uid, "7")])
    with (
        contextlib.nullcontext()
        if is_own
        else pytest.raises(StrangerError, match="a process that this user cannot see")
    ):
        assert here().listening("127.0.0.1", 1) == {"7"}


def unowned(inode: str = "7") -> ports.Listener:
    """Return a socket whose process cannot be seen, and whose user is not this one."""
    return ports.Listener("127.0.0.1", 1, 0, os.getuid() + 1, inode)


def test_the_last_socket_of_an_instance_that_has_just_ended_is_no_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel closes the socket after the process ended. The gate must report that end instead of a stranger."""
    monkeypatch.setattr(ports, "listeners", lambda *_arguments: [unowned()])
    with another() as (child, _port):
        trust = Trust(process_of(child))
        with pytest.raises(StrangerError):
            trust.listening("127.0.0.1", 1)
        child.kill()
        child.wait()
        assert trust.listening("127.0.0.1", 1) == frozenset()


def test_a_process_that_can_be_seen_is_a_stranger_also_after_the_instance_has_ended() -> None:
    with another() as (ended, _port):
        trust = Trust(process_of(ended))
    with another() as (child, port):
        named = rf"pid {child.pid} "
        with pytest.raises(StrangerError, match=named):
            trust.listening("127.0.0.1", port)


@pytest.mark.parametrize(("later", "inodes"), [([], []), ([unowned()], ["7"])])
def test_a_socket_without_a_process_counts_if_it_stays(
    monkeypatch: pytest.MonkeyPatch, later: list[ports.Listener], inodes: list[str]
) -> None:
    looks = iter([[unowned()], later])
    monkeypatch.setattr(ports, "listeners", lambda *_arguments, **_more: next(looks))
    pauses: list[float] = []
    others = server_trust.strangers("127.0.0.1", 1, [os.getpid()], pauses.append)
    assert ([listener.inode for listener in others], pauses) == (inodes, [0.5])


# -- its certificate -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Create two certificates with keys: the instance's, and another one of the same name."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("own", "other"):
        words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=chat.example"]
        subprocess.run(
            [*words, "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"],
            check=True,
            stderr=subprocess.DEVNULL,
        )
    words = [
        "openssl",
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=signed.example",
        "-keyout",
        f"{folder}/signed.key",
        "-out",
        f"{folder}/csr",
    ]
    subprocess.run(words, check=True, stderr=subprocess.DEVNULL)
    sign = [
        "openssl",
        "x509",
        "-req",
        "-in",
        f"{folder}/csr",
        "-CA",
        f"{folder}/own.pem",
        "-CAkey",
        f"{folder}/own.key",
        "-CAcreateserial",
    ]
    subprocess.run([*sign, "-days", "2", "-out", f"{folder}/signed.pem"], check=True, stderr=subprocess.DEVNULL)
    return folder


def ask_with_tls(folder: pathlib.Path, shown: str, pinned: str) -> tuple[server_asking.Reply, bytes]:
    """Ask a server that shows one certificate while another one is pinned; return the reply and what it received."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{shown}.pem", folder / f"{shown}.key")
    told: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer = listener.accept()[0]
            with (
                contextlib.suppress(OSError),
                contextlib.closing(context.wrap_socket(peer, server_side=True)) as secure,
            ):
                told.append(secure.recv(65536))
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        thread = threading.Thread(target=serve)
        thread.start()
        process = processes.find(os.getpid())
        assert process is not None
        trust = Trust(process, server_trust.leaf(str(folder / f"{pinned}.pem")) if pinned else "", KEY)
        reply = server_asking.asker(f"https://127.0.0.1:{listener.getsockname()[1]}", trust)("/props", None, 5)
        if not pinned:
            socket.create_connection(listener.getsockname()).close()
        thread.join(10)
    return reply, b"".join(told)


def test_its_own_certificate_is_trusted_by_whatever_name(certificates: pathlib.Path) -> None:
    reply, told = ask_with_tls(certificates, "own", "own")
    assert (reply.status, f"Bearer {KEY}".encode() in told) == (200, True)


@pytest.mark.parametrize(
    ("shown", "pinned", "why"),
    [
        ("other", "own", "certificate verify failed"),
        ("signed", "own", "it shows another certificate than the instance's"),
        ("own", "", "its certificate is not known"),
    ],
)
def test_any_other_certificate_is_told_nothing(certificates: pathlib.Path, shown: str, pinned: str, why: str) -> None:
    reply, told = ask_with_tls(certificates, shown, pinned)
    assert (reply.status, told) == (0, b"")
    assert why in reply.text


def test_no_certificate_is_demanded_only_if_that_is_said(certificates: pathlib.Path) -> None:
    own = server_trust.leaf(str(certificates / "own.pem"))
    contexts = [server_trust.context(certificate) for certificate in (None, "", own)]
    assert [context.verify_mode for context in contexts] == [ssl.CERT_NONE, ssl.CERT_REQUIRED, ssl.CERT_REQUIRED]
    assert [len(context.get_ca_certs(binary_form=True)) for context in contexts] == [0, 0, 1]


def test_the_first_certificate_of_a_file_is_the_servers(certificates: pathlib.Path, tmp_path: pathlib.Path) -> None:
    own, other = ((certificates / f"{name}.pem").read_text(encoding="ascii") for name in ("own", "other"))
    chain = tmp_path / "chain.pem"
    chain.write_text(f"a comment\n{own}{other}", encoding="ascii")
    assert server_trust.leaf(str(chain)) == own
    assert (server_trust.leaf("/nowhere"), server_trust.leaf(str(tmp_path))) == ("", "")


def test_the_key_is_not_even_in_the_repr() -> None:
    assert KEY not in repr(Trust(processes.Process(1, 1), key=KEY))
