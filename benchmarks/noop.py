# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""``python benchmarks/noop.py --prefix DIR --port N`` measures a run that has nothing to do.

An instance must be running below the prefix (``./llama-fleet up --detach --prefix DIR --port N``). It alternates
between the whole no-op run with an answer from the server, the same without a question, and a play of eight pings,
which is what Ansible itself takes for as many module calls.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
PINGS = """
- name: Eight module calls that do nothing
  hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Ping
      ansible.builtin.ping:
      loop: [1, 2, 3, 4, 5, 6, 7, 8]
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
            "ansible-playbook, eight pings": [str(ROOT / ".venv" / "bin" / "ansible-playbook"), str(play)],
        }
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for _round in range(given.rounds):
            for name, command in contenders.items():
                began = time.monotonic()
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                seconds[name].append(time.monotonic() - began)
                if command[0].endswith("llama-fleet") and not output.startswith("changed=0"):
                    sys.exit(f"This was no no-op run:\n{output}")
    for name, values in seconds.items():
        print(f"| {name} | {min(values):.1f} | {statistics.median(values):.1f} | {max(values):.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
