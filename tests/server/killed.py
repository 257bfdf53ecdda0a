# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""``killed.py ROUNDS < arguments`` kills a run of llama_server at a random moment, repeats it, and checks the result.

Every round asks for another state of the instance. It prints one line of JSON for each round.
"""

from __future__ import annotations

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
import typing

MODULE = "/srv/python/ansible_collections/llama_fleet/core/plugins/modules/llama_server.py"
FOLDER = pathlib.Path("/etc/llama-fleet/instances/default")
UNIT = pathlib.Path("/etc/systemd/system/llama-fleet-default.service")
ENVIRONMENT = {**os.environ, "PYTHONPATH": "/srv/python", "PYTHONPYCACHEPREFIX": "/var/cache/python"}


def start(arguments: dict[str, typing.Any]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    assert process.stdin
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_remote_tmp": "/tmp"}}))
    process.stdin.close()
    process.stdin = None
    return process


def finish(process: subprocess.Popen[str]) -> dict[str, typing.Any]:
    output, _errors = process.communicate(timeout=300)
    return typing.cast("dict[str, typing.Any]", json.loads(output[output.index("{") :]))


def half_written() -> list[str]:
    """Return what no run may leave: unfinished generations, missing files, a unit of another generation."""
    found = [str(path) for path in FOLDER.glob("generations/.*")]
    current = FOLDER / "current"
    found += [
        f"no {name} in {current}"
        for name in ("manifest.json", "environment", "unit", "api-key")
        if not (current / name).is_file()
    ]
    if UNIT.read_text(encoding="utf-8") != (current / "unit").read_text(encoding="utf-8"):
        found.append(f"{UNIT} is not that of the current generation")
    return found


def main() -> None:
    rounds = int(sys.argv[1])
    arguments = json.load(sys.stdin)
    chance = random.Random(1)
    began = time.monotonic()
    finish(start({**arguments, "ctx_size": 255}))
    usual = time.monotonic() - began
    for number in range(rounds):
        wanted = {**arguments, "ctx_size": 256 + number % 7}
        # Moments over the whole run, so that every part of it is hit.
        moment = usual * (number + chance.random()) / rounds
        victim = start(wanted)
        time.sleep(moment)
        os.killpg(victim.pid, signal.SIGKILL)
        victim.communicate()
        # Once one was good there is always a current one, because a boot may come before the next run.
        gone = [] if (FOLDER / "current" / "manifest.json").is_file() else ["no generation was current after the kill"]
        again = finish(start(wanted))
        after = finish(start(wanted))
        left = gone + half_written()
        print(
            json.dumps(
                {
                    "moment": moment,
                    "again": again.get("msg", ""),
                    "after": after.get("msg", ""),
                    "changed": after.get("changed"),
                    "left": left,
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
