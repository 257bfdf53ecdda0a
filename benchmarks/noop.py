# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""``python benchmarks/noop.py --prefix DIR --port N`` measures a run that has nothing to do.

An instance must be running below the prefix (``./llama-fleet up --detach --prefix DIR --port N``). In turns it runs the
whole no-op run with an answer from the server, the same without a question, and a play with one ping, which is what
Ansible itself takes. ``--against CHECKOUT PREFIX PORT`` adds another checkout of this repository with an instance of
its own. CPU seconds are those of all processes of the command.
"""

import argparse
import dataclasses
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
QUESTION = "What is the capital of France?"
PINGS = """
- name: One module call that does nothing
  hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Ping
      ansible.builtin.ping:
"""


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of one command: ``wall`` and ``cpu`` in seconds, and the module calls that it reports, if any."""

    wall: float
    cpu: float
    calls: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prefix", required=True, help="where the instance is")
    parser.add_argument("--port", required=True, help="its port")
    parser.add_argument("--against", nargs=3, action="append", default=[], metavar=("CHECKOUT", "PREFIX", "PORT"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("rest", nargs="*", help="further options that the instance was started with, after --")
    given = parser.parse_args()
    checkouts = [("this one", ROOT, given.prefix, given.port)]
    checkouts += [(checkout, checkout, prefix, port) for checkout, prefix, port in given.against]
    contenders: dict[str, list[str]] = {}
    for name, checkout, prefix, port in checkouts:
        up = [f"{checkout}/llama-fleet", "up", "--detach", "--prefix", prefix, "--port", port, *given.rest]
        contenders[f"up of {name}, one answer"] = [*up, "--prompt", QUESTION]
        contenders[f"up of {name}, no question"] = [*up, "--prompt", ""]
    with tempfile.TemporaryDirectory() as folder:
        play = pathlib.Path(folder) / "pings.yml"
        play.write_text(PINGS, encoding="utf-8")
        contenders["ansible-playbook, one ping"] = [str(ROOT / ".venv" / "bin" / "ansible-playbook"), str(play)]
        costs: dict[str, list[Cost]] = {name: [] for name in contenders}
        for _round in range(given.rounds):
            for name, command in contenders.items():
                costs[name].append(_run(command))
    print("| | least s | median s | most s | median CPU-s | module calls |\n|---|---|---|---|---|---|")
    for name, runs in costs.items():
        walls = [run.wall for run in runs]
        wall = f"{min(walls):.1f} | {statistics.median(walls):.1f} | {max(walls):.1f}"
        print(f"| {name} | {wall} | {statistics.median(run.cpu for run in runs):.1f} | {runs[-1].calls} |")
    return 0


def _run(command: list[str]) -> Cost:
    """Run a command that changes nothing and return its cost. Exits if it changed something or failed."""
    began, before = time.monotonic(), _cpu()
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    wall, cpu = time.monotonic() - began, _cpu() - before
    if command[0].endswith("llama-fleet") and not re.search(r"^changed=0", output, re.MULTILINE):
        sys.exit(f"Expected a run that changes nothing, found:\n{output}")
    calls = re.search(r"(\d+) module call", output)
    return Cost(wall, cpu, calls[1] if calls else "")


def _cpu() -> float:
    """Return the CPU seconds of all children so far, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
