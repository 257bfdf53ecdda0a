# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""``python benchmarks/noop.py --prefix DIR --port N`` measures a run that has nothing to do.

An instance must be running below the prefix (``./llama-fleet up --detach --prefix DIR --port N``). It alternates
between the whole no-op run with an answer from the server, the same without a question, and a play with one ping,
which is what Ansible itself takes for as many module calls. CPU seconds are those of all processes of the command.
"""

import argparse
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
PINGS = """
- name: One module call that does nothing
  hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Ping
      ansible.builtin.ping:
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prefix", type=pathlib.Path, required=True, help="where the instance is")
    parser.add_argument("--port", required=True, help="its port")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("rest", nargs="*", help="further options that the instance was started with, after --")
    given = parser.parse_args()
    up = [str(ROOT / "llama-fleet"), "up", "--detach", "--prefix", str(given.prefix), "--port", given.port, *given.rest]
    with tempfile.TemporaryDirectory() as folder:
        play = pathlib.Path(folder) / "pings.yml"
        play.write_text(PINGS, encoding="utf-8")
        contenders = {
            "up, nothing to do, one answer": up,
            "up, nothing to do, no question": [*up, "--prompt", ""],
            "ansible-playbook, one ping": [str(ROOT / ".venv" / "bin" / "ansible-playbook"), str(play)],
        }
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        work: dict[str, list[float]] = {name: [] for name in contenders}
        for _round in range(given.rounds):
            for name, command in contenders.items():
                began, before = time.monotonic(), _cpu()
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                seconds[name].append(time.monotonic() - began)
                work[name].append(_cpu() - before)
                if command[0].endswith("llama-fleet") and not output.startswith("changed=0"):
                    sys.exit(f"This was no no-op run:\n{output}")
    for name, values in seconds.items():
        wall = f"{min(values):.1f} | {statistics.median(values):.1f} | {max(values):.1f}"
        print(f"| {name} | {wall} | {statistics.median(work[name]):.1f} |")
    return 0


def _cpu() -> float:
    """Return the CPU seconds of all children so far, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
