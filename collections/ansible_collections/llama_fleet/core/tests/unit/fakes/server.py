# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A release whose llama-server starts in a moment and does what a test wants of it, and a model that is only a
header.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import sys
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host import ports, processes
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import extra as server_flags
from ansible_collections.llama_fleet.core.tests.unit import waiting
from ansible_collections.llama_fleet.core.tests.unit.fakes import gguf as fake_gguf

_HELP = pathlib.Path(__file__).parents[1] / "plugins" / "module_utils" / "fixtures" / "llama_server" / "help.txt"
TRAINED = 8192
SPEED = 100.0  # tokens a second of a server that is not told otherwise

# Only modules that are part of the interpreter: it is to start at once, some hundred times in a test's run.
_SERVER = """#!{python} -IS
import _socket, os, posix, sys
WANTED = {behaviour!r}
arguments = sys.argv[1:]
value = lambda flag: arguments[arguments.index(flag) + 1] if flag in arguments else ""
if "--list-devices" in arguments:
    print("Available devices:")
    if WANTED.get("hangs_in_its_test"):
        __import__("time").sleep(600)
    for number in range(WANTED.get("gpus", 0)):
        print(f"  CUDA{{number}}: NVIDIA H200 (143771 MiB, 143000 MiB free)")
    refusal = WANTED.get("refuses")
    if refusal:
        sys.exit("error: " + refusal)
    sys.exit(0)
setting = lambda name: os.environ["LLAMA_ARG_" + name]
is_router = not os.environ.get("LLAMA_ARG_MODEL")
sys.stderr.write("loading " + ("no model" if is_router else setting("MODEL")) + "\\n")
sys.stderr.flush()
crash = WANTED.get("crash")
if crash == "SIGILL":
    posix.kill(posix.getpid(), 4)
if crash:
    sys.exit(str(crash))
if WANTED.get("hangs"):
    __import__("time").sleep(600)
keys = open(value("--api-key-file")).read().split() if value("--api-key-file") else []
context = int(setting("CTX_SIZE")) // int(setting("N_PARALLEL"))
busy = list(WANTED.get("busy", [0]))
if WANTED.get("ignores_term"):
    __import__("signal").signal(15, lambda *_: None)
sleeps = str(bool(WANTED.get("sleeps"))).lower()
props = '{{"role": "router"}}' if is_router else (
    '{{"model_path": "' + WANTED.get("model", setting("MODEL")) + '", "is_sleeping": ' + sleeps
    + ', "total_slots": ' + setting("N_PARALLEL")
    + ', "default_generation_settings": {{"n_ctx": ' + str(min(context, WANTED.get("context", context))) + '}}}}')
tokens = WANTED.get("tokens", [7, 8, 9, 10])
pieces = WANTED.get("pieces", [" six", ",", " seven", ","])
speeds = list(WANTED.get("speeds", [{speed}]))
seen = 0

def completion(body):
    count = int(body.split('"n_predict":')[1].split(",")[0].strip("}} ")) if '"n_predict":' in body else 2
    said = [tokens[index % len(tokens)] for index in range(count)]
    text = "".join(pieces[index % len(pieces)] for index in range(count))
    global seen
    speed = speeds[min(seen, len(speeds) - 1)]
    seen += 1 if count > 4 else 0
    return ('{{"content": "' + text + '", "tokens": ' + str(said) + ', "tokens_predicted": ' + str(count)
        + ', "timings": {{"predicted_per_second": ' + str(speed) + '}}}}')

listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
listener.bind((setting("HOST"), int(setting("PORT"))))
listener.listen(16)
while True:
    descriptor, _address = listener._accept()
    peer = _socket.socket(fileno=descriptor)
    data = b""
    while b"\\r\\n\\r\\n" not in data:
        more = peer.recv(65536)
        if not more:
            break
        data += more
    head, _gap, body = data.partition(b"\\r\\n\\r\\n")
    lines = head.decode().split("\\r\\n")
    length = next((int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:")), 0)
    while len(body) < length:
        body += peer.recv(65536)
    path = lines[0].split()[1] if lines[0] else ""
    if WANTED.get("tells"):
        sys.stderr.write("asked " + path + (" with a key" if "authorization:" in head.decode().lower() else "") + "\\n")
        sys.stderr.flush()
    status, answer = "200 OK", "{{}}"
    if path == "/health":
        status = "503 Loading" if WANTED.get("loads_forever") else status
    elif keys and not any("Authorization: Bearer " + key in lines for key in keys):
        status = "401 Unauthorized"
    elif path == "/props":
        answer = props
    elif path == "/completion":
        if WANTED.get("dies_on_completion"):
            posix._exit(9)
        answer = completion(body.decode())
    elif path in ("/metrics", "/slots"):
        count = busy.pop(0) if len(busy) > 1 else busy[0]
        counters = "llamacpp:requests_processing " + str(min(count, 1)) + "\\n"
        counters += "llamacpp:requests_deferred " + str(max(count - 1, 0)) + "\\n"
        answer = counters if path == "/metrics" else '[{{"is_processing": ' + str(bool(count)).lower() + '}}]'
    elif path == "/v1/models" and is_router:
        answer = '{{"data": [{{"id": "tiny", "status": {{"value": "unloaded"}}}}]}}'
    elif path == "/v1/embeddings":
        answer = '{{"data": [{{"embedding": ' + str(WANTED.get("embedding", [0.1, 0.2])) + '}}]}}'
    else:
        status = "404 Not Found"
    peer.send((
        "HTTP/1.1 " + status + "\\r\\nContent-Type: application/json\\r\\nConnection: close\\r\\nContent-Length: "
        + str(len(answer)) + "\\r\\n\\r\\n" + answer).encode())
    peer.close()
"""
# In MiB: as much as was asked for the model, a context in proportion, and a little to compute with.
_PLANNER = """#!/bin/sh
{failure}
[ "$1" = --help ] && exit 0
echo "Host {model_mib} $((LLAMA_ARG_CTX_SIZE * {context_mib} / 1024)) 1 "
"""


def release(
    folder: pathlib.Path,
    name: str = "good",
    planner: str | None = "",
    model_mib: int = 1,
    context_mib: int = 0,
    **behaviour: typing.Any,
) -> str:
    """Write a release in ``folder`` whose server has this behaviour, and return its path.

    ``planner`` is the shell code with which its planner fails; without a planner for None.
    """
    path = folder / name
    (path / "bin").mkdir(parents=True)
    flags = server_flags.parse_help(_HELP.read_text(encoding="utf-8"))
    more = [{"names": [f"--{flag}"], "value": "X"} for flag in ("rope-scaling", "yarn-orig-ctx", "override-kv")]
    manifest = {"build": f"b-{name}", "fingerprint": name, "options": {"details": [*flags.details, *more]}}
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    _program(
        path / "bin" / "llama-server",
        _SERVER.format(python=os.path.realpath(sys.executable), behaviour=behaviour, speed=SPEED),
    )
    if planner is not None:
        _program(
            path / "bin" / "llama-fit-params",
            _PLANNER.format(failure=planner, model_mib=model_mib, context_mib=context_mib),
        )
    return str(path)


def _program(path: pathlib.Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def crash(pid: int, port: int) -> None:
    """Kill a server and wait until nothing of it is left: the kernel takes a moment for that, in which the port is
    still taken.
    """
    victim = processes.find(pid)
    os.kill(pid, signal.SIGKILL)
    waiting.until(lambda: not (victim and processes.alive(victim)) and not ports.listeners(port, "127.0.0.1"))


def model(path: pathlib.Path, trained: int = TRAINED) -> str:
    """Write a model whose only key is the number of tokens it was trained for, and return its path."""
    path.write_bytes(fake_gguf.gguf(fake_gguf.LLAMA, fake_gguf.number("llama.context_length", trained)))
    return str(path)
