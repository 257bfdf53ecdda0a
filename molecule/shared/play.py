"""Run one of the project's plays on molecule's hosts and print, as JSON, what it did on each of them.

``changed`` lists the modules that changed something, ``calls`` counts the modules that ran on the host.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import tempfile
import typing

import ansible_runner

ROOT = pathlib.Path(__file__).resolve().parents[2]
# These run on the controller only.
NOT_ON_HOSTS = (
    "ansible.builtin.include_role",
    "ansible.builtin.include_tasks",
    "ansible.builtin.set_fact",
    "ansible.builtin.validate_argument_spec",
    "llama_fleet.core.validate_variables",
)


class Report:
    """A callback that gathers the results as they arrive."""

    def __init__(self) -> None:
        self.hosts: dict[str, dict[str, typing.Any]] = {}

    def add(self, event: dict[str, typing.Any]) -> bool:
        if event["event"] in ("runner_on_ok", "runner_on_failed"):
            data = event["event_data"]
            action = data["resolved_action"]
            host = self.hosts.setdefault(data["host"], {"changed": [], "calls": 0})
            host["calls"] += action not in NOT_ON_HOSTS
            if data["res"].get("changed"):
                host["changed"].append(action.rpartition(".")[2])
        return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("play", choices=["site", "down"])
    parser.add_argument("--check", action="store_true", help="only say what would change")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a variable with another value than in the inventory",
    )
    arguments = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        run = ansible_runner.run(
            private_data_dir=folder,
            playbook=str(ROOT / "playbooks" / f"{arguments.play}.yml"),
            inventory=str(ROOT / "molecule" / "inventory"),
            cmdline=" ".join(
                ["--diff", *(["--check"] if arguments.check else []), *(f"-e {pair}" for pair in arguments.set)]
            ),
            event_handler=report.add,
            quiet=True,
        )
        if run.rc:
            sys.stderr.write(run.stdout.read())
    sys.stdout.write(json.dumps(report.hosts, indent=2) + "\n")
    return int(run.rc)


if __name__ == "__main__":
    sys.exit(main())
