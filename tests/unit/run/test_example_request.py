# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The printed question, typed into a real shell."""

import http.server
import json
import pathlib
import shutil
import subprocess
import threading
from collections.abc import Iterator

import pytest

from llama_fleet.run import example_request


class Server(http.server.ThreadingHTTPServer):
    """Keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str, object]] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers.get("Authorization", ""), body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def result(server: Server, *command: str, **more: object) -> dict[str, object]:
    return {"endpoint": f"http://127.0.0.1:{server.server_port}", "command": ["llama-server", *command], **more}


def type_in(line: str, folder: pathlib.Path, **environment: str) -> None:
    environment = {"PATH": f"{folder}:/usr/bin:/bin", **environment}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


QUESTION = ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello!"}]})

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


@needs_curl
@pytest.mark.parametrize("given", ["nothing", "a variable", "a file"])
def test_the_line_works_with_and_without_a_key(server: Server, tmp_path: pathlib.Path, given: str) -> None:
    file = tmp_path / "the key's file"
    file.write_text("k3y\nanother\n", encoding="ascii")
    command = [] if given == "nothing" else ["--api-key-file", str(file)]
    environment = {"LLAMA_API_KEY": "k3y"} if given == "a variable" else {}
    (line,) = example_request.lines(result(server, *command), environment=environment)
    assert "k3y" not in line
    type_in(line, tmp_path, **environment)
    path, body = QUESTION
    assert server.asked == [(path, "" if given == "nothing" else "Bearer k3y", body)]


@needs_curl
def test_of_a_remote_host_the_line_reads_the_key_there_and_goes_through_a_tunnel(
    server: Server, tmp_path: pathlib.Path
) -> None:
    """An ssh stands in that runs what it is told here; the tunnel is there already."""
    file = tmp_path / "api key"
    file.write_text("k3y\n", encoding="ascii")
    for name, text in (("ssh", 'test "$1" = gpu-1.example || exit 1; exec sh -c "$2"'), ("sudo", 'exec "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n", encoding="ascii")
        (tmp_path / name).chmod(0o755)
    tunnel, line = example_request.lines(result(server, "--api-key-file", str(file)), "gpu-1.example")
    assert tunnel.startswith(f"ssh -N -L {server.server_port}:127.0.0.1:{server.server_port} gpu-1.example  #")
    type_in(line, tmp_path)
    assert [key for _path, key, _body in server.asked] == ["Bearer k3y"]


def test_a_server_that_others_reach_needs_no_tunnel() -> None:
    (line,) = example_request.lines({"endpoint": "http://192.0.2.7:8080", "command": ["s"]}, "gpu-1")
    assert line.startswith("curl http://192.0.2.7:8080/v1/chat/completions ")
    first, _line = example_request.lines({"endpoint": "https://[::1]:8080", "command": ["s"]}, "gpu-1")
    assert first.startswith("ssh -N -L '8080:[::1]:8080' gpu-1 ")


def test_with_tls_the_line_trusts_the_servers_own_certificate() -> None:
    told = {"endpoint": "https://127.0.0.1:8080", "command": ["s"], "certificate": "/etc/ssl/a b.pem"}
    assert " --cacert '/etc/ssl/a b.pem' " in example_request.lines(told)[0]
    assert (
        " --cacert <(ssh gpu-1 'sudo cat '\"'\"'/etc/ssl/a b.pem'\"'\"'') " in example_request.lines(told, "gpu-1")[1]
    )


@pytest.mark.parametrize("address", ["-oProxyCommand=id", "$(id)", "a;id", "a b"])
def test_no_address_is_more_than_one_word(address: str) -> None:
    tunnel, line = example_request.lines(
        {"endpoint": "http://127.0.0.1:1", "command": ["s", "--api-key-file", "/k;id"]}, address
    )
    shell = subprocess.run(
        ["bash", "-c", f"set -- {tunnel.partition('  #')[0]}; echo $#"], capture_output=True, text=True, check=True
    )
    assert shell.stdout == "5\n"
    assert "'/k;id'" in line
