# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Show the instances and generations of hosts: the commands status and generations."""

from collections.abc import Iterator

from rich.text import Text

from ansible_collections.llama_fleet.core.plugins.module_utils.server.status import table
from llama_fleet.cli import versions, views
from llama_fleet.cli.views import Facts, Rows
from llama_fleet.errors import ExitCode
from llama_fleet.run import console
from llama_fleet.run.events import Outcome, exit_code

ROLE = "llama_server_info"
_STYLES = {"running": "green", "loading": "yellow", "sleeping": "cyan", "stopped": "dim"}
_RIGHT = ("GENERATION", "MEMORY", "GPU", "SLOTS", "TOKENS", "TOKENS/S", "UPTIME", "SPEED")


def instances(outcome: Outcome) -> Rows:
    """Return every instance of every host, with the host's name."""
    return [
        {"host": host, **facts}
        for host, result in sorted(outcome.of_role(ROLE).items())
        for facts in result["instances"]
    ]


def generations(outcome: Outcome) -> Rows:
    """Return every generation of every instance, newest first."""
    return [
        {"host": row["host"], "instance": row["instance"], **generation}
        for row in instances(outcome)
        for generation in reversed(row["generations"])
    ]


def _status_columns(facts: Facts) -> dict[str, Text]:
    columns = {"HOST": Text(facts["host"]), **{name: Text(cell) for name, cell in table.cells(facts).items()}}
    columns["STATE"].stylize(_STYLES.get(facts["state"], "red"))
    columns["MODEL"].overflow = "fold"
    return columns


def _status_remarks(outcome: Outcome) -> Iterator[str]:
    for facts in instances(outcome):
        for sentence in facts["drift"]:
            yield f"{facts['host']}: {facts['instance']}: {sentence}"
        for sentence in facts["unknown"]:
            yield f"{facts['host']}: {facts['instance']}: unknown: {sentence}"
        if facts.get("background"):
            yield f"{facts['host']}: {facts['instance']}: {facts['background']}"
    yield from _bare(outcome)


def _bare(outcome: Outcome) -> Iterator[str]:
    return (f"{host}: no instance" for host, result in sorted(outcome.of_role(ROLE).items()) if not result["instances"])


def _not_as_wanted(outcome: Outcome) -> bool:
    return any(result["errors"] for result in outcome.of_role(ROLE).values())


def _failures(outcome: Outcome) -> Iterator[str]:
    """Yield a sentence for each host that gave no answer."""
    return (console.failure_text(failure) for failure in outcome.unanswered(ROLE))


def _generation_columns(facts: Facts) -> dict[str, Text]:
    return {
        "HOST": Text(facts["host"]),
        "INSTANCE": Text(facts["instance"]),
        "GENERATION": Text(str(facts["number"])),
        "": Text("current" if facts["current"] else "", "bold"),
        "GATE": Text("passed", "green") if facts["good"] else Text("not passed", "red"),
        "MADE": Text(facts["created"]),
        "BUILD": Text(facts["build"]),
        "MODEL": Text(facts["model"], overflow="fold"),
        "SPEED": Text(table.speed(facts["speed"] or -1)),
    }


def _without_generations(outcome: Outcome) -> Iterator[str]:
    for facts in instances(outcome):
        if not facts["generations"]:
            yield f"{facts['host']}: {facts['instance']}: no generation"
        yield from (
            f"{facts['host']}: {facts['instance']}: unknown: {sentence}"
            for sentence in facts["unknown"]
            if not facts["generations"]
        )
    yield from _bare(outcome)


def _remarked(sentences: Iterator[str]) -> Iterator[Text]:
    return (Text(sentence, "yellow") for sentence in sentences)


def _told(outcome: Outcome) -> Iterator[Text]:
    yield from _remarked(_status_remarks(outcome))
    yield from (Text(sentence) for sentence in versions.sentences(instances(outcome)))


STATUS = views.View(
    rows=instances,
    columns=_status_columns,
    remarks=_told,
    exit_status=lambda outcome: _exit_status(outcome, _not_as_wanted(outcome)),
    failures=_failures,
    right=_RIGHT,
    wrapped=("MODEL",),
)
GENERATIONS = views.View(
    rows=generations,
    columns=_generation_columns,
    remarks=lambda outcome: _remarked(_without_generations(outcome)),
    exit_status=lambda outcome: _exit_status(outcome, any(_without_generations(outcome))),
    failures=_failures,
    right=_RIGHT,
    wrapped=("MODEL",),
)


def _exit_status(outcome: Outcome, problem: bool) -> int:
    return exit_code(outcome.unanswered(ROLE)) or (ExitCode.FAILED if problem else ExitCode.OK)
