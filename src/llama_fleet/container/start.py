# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A container made to be as its settings say; and where that fails, the last good that there is of the same model."""

import dataclasses
import pathlib
import time
import typing
from collections.abc import Mapping

from llama_fleet import settings
from llama_fleet.container import generations, record, startlog, variables, volumes
from llama_fleet.container.narrator import Narrator
from llama_fleet.errors import ExitCode, FleetError
from llama_fleet.run import runner
from llama_fleet.run.console import summary
from llama_fleet.run.events import LOCALHOST, Failure, Outcome

PLAYBOOK = "container"
# Seconds until what failed, and would fail again for all we know, is tried again.
RETRY = 24 * 3600.0
NEVER = "never"
ENDINGS = " .\n"
RELEASE, SERVER = "llama_cpp", "llama_server"
# What fails in them is no mistake in a setting, or one that must not keep from starting what was good.
_STAGES = ("nvidia_driver", "cuda_toolkit", RELEASE, "gguf_model", SERVER)


@dataclasses.dataclass(frozen=True)
class Attempt:
    """What came of the play.

    ``warning`` says in what it is not what was asked for, ``lasting`` that trying again at once is of no use.
    """

    outcome: Outcome
    warning: str = ""
    lasting: bool = False

    @property
    def failure(self) -> Failure | None:
        return next(iter(self.outcome.failures), None)

    @property
    def without_release(self) -> bool:
        return self.failure is not None and self.failure.role == RELEASE

    @property
    def commit(self) -> str:
        """Of the build that was wanted, where it was found out."""
        return str(self.outcome.of_role(RELEASE).get(LOCALHOST, {}).get("commit", ""))


def converge(environment: Mapping[str, str], out: startlog.Log) -> tuple[record.Record, int]:
    """The record of what to execute, or the exit status that says why there is nothing."""
    try:
        catalogue = settings.load()
        values = variables.of(environment, catalogue, out.warning)
        if values[variables.MODEL_ROOT] == record.STATE:
            volumes.join(pathlib.Path(record.STATE), pathlib.Path(variables.MODELS))
        return Start(environment, catalogue, values, out).run()
    except FleetError as error:
        for line in str(error).splitlines():
            out.error(line)
        return {}, error.exit_code
    except OSError as error:  # a volume that is full, or gone
        out.error(f"{error.filename or record.STATE}: {error.strerror}.")
        return {}, ExitCode.FAILED


class Start:
    """One start that has work to do, or has to look whether it has."""

    def __init__(
        self, environment: Mapping[str, str], catalogue: settings.Catalogue, values: variables.Values, log: startlog.Log
    ) -> None:
        self._environment = environment
        self._catalogue = catalogue
        self._values = values
        self._log = log
        self._store = generations.Store(values, catalogue)

    def run(self) -> tuple[record.Record, int]:
        first = self._attempt(self._values)
        attempt = self._with_another_release(first) if first.without_release else first
        self._log.info(summary(attempt.outcome))
        if attempt.failure is None:
            number = int(attempt.outcome.of_role(SERVER)[LOCALHOST]["generation"])
            return self._keep(number, first, attempt.warning, known=True, lasting=attempt.lasting), 0
        number = self._store.last_good() if may_go_back(attempt.failure) else 0
        if not number:
            for failure in attempt.outcome.failures:
                self._log.error(failure.text)
            return {}, attempt.outcome.exit_code
        self._store.switch(number)
        lasting = not attempt.failure.plan and attempt.failure.role in (RELEASE, SERVER)
        warning = f"{sentence(attempt.failure)} Generation {number}, which was good, is started instead."
        self._log.warning(warning)
        return self._keep(number, first, warning, known=lasting, lasting=lasting), 0

    def _attempt(self, values: variables.Values, warning: str = "", lasting: bool = False) -> Attempt:
        outcome = runner.run(runner.Request(PLAYBOOK, values), Narrator(self._log, self._catalogue.stages[PLAYBOOK]))
        return Attempt(outcome, warning, lasting)

    def _with_another_release(self, first: Attempt) -> Attempt:
        """The newest is not to be had: the one that is there, or the one that the role itself names."""
        reason = sentence(typing.cast("Failure", first.failure))
        never = self._values.get(variables.UPDATE) == NEVER
        # Where it was found what to build, building it failed.
        lasting = bool(first.commit)
        self._log.info(f"{reason} Trying what is there.")
        others = (
            ({} if never else {**self._values, variables.UPDATE: NEVER}, "The release that is there is used."),
            (variables.pinned(self._values, self._catalogue), "The build that llama-fleet comes with is used."),
        )
        for values, outcome in others:
            attempt = self._attempt(values, f"{reason} {outcome}", lasting) if values else first
            if not attempt.without_release:
                self._log.warning(attempt.warning)
                return attempt
        return first

    def _keep(self, number: int, first: Attempt, warning: str, *, known: bool, lasting: bool) -> record.Record:
        """Write down what the next start compares itself with; one that is not ``known`` to be as good as can be
        has nothing to compare.
        """
        update = str(self._values.get(variables.UPDATE) or self._catalogue.variables[variables.UPDATE].default)
        names = variables.names(self._catalogue)
        kept = {
            "desired": record.desired(self._environment, names) if known else "",
            "names": names,
            "withheld": [*variables.secret_names(self._catalogue)],
            "update": update,
            "remote": self._remote(first) if update == "always" else None,
            "warning": warning,
            "retry_after": time.time() + RETRY if lasting else 0,
            **self._store.described(
                number, follows=update in ("background", "missing") and bool(variables.moving(self._values))
            ),
        }
        if lasting:
            self._log.info(f"It is tried again in a day, with other settings, or at once without {record.path()}.")
        try:
            pathlib.Path(record.STATE).mkdir(parents=True, exist_ok=True)
            self._store.remember(number)
            record.write(kept)
        except OSError as error:
            self._log.warning(
                f"The next start has to look at everything anew: {record.path()} cannot be written ({error.strerror})."
            )
        return kept

    def _remote(self, first: Attempt) -> dict[str, str] | None:
        url = variables.moving(self._values)
        return (
            {"url": url, "version": str(self._values.get(variables.VERSION, "")), "commit": first.commit}
            if url
            else None
        )


def sentence(failure: Failure) -> str:
    """What failed, so that more can be said behind it: a log's last lines may be its end."""
    return f"{failure.text.rstrip(ENDINGS)}."


def may_go_back(failure: Failure) -> bool:
    """Whether what was good may be started instead; not where a setting of the server is wrong, which its user has
    to know.
    """
    return failure.role in _STAGES and not (failure.role == SERVER and failure.plan)
