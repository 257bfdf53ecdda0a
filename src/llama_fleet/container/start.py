# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Apply a container's settings; if that fails, fall back to the last good generation of the same model."""

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
# Seconds until a step that will probably fail again is tried again.
RETRY = 24 * 3600.0
NEVER = "never"
ENDINGS = " .\n"
RELEASE, SERVER = "llama_cpp", "llama_server"
# A failure in these roles must not prevent the start of a good generation.
_STAGES = ("nvidia_driver", "cuda_toolkit", RELEASE, "gguf_model", SERVER)


@dataclasses.dataclass(frozen=True)
class Attempt:
    """A run of the play and its outcome.

    ``warning`` says how the result differs from the settings; ``lasting`` means that an immediate retry is useless.
    """

    outcome: Outcome
    warning: str = ""
    lasting: bool = False

    @property
    def failure(self) -> Failure | None:
        """The first failure, if any."""
        return next(iter(self.outcome.failures), None)

    @property
    def without_release(self) -> bool:
        """True if the release could not be provided."""
        return self.failure is not None and self.failure.role == RELEASE

    @property
    def commit(self) -> str:
        """The commit of the requested build; empty if unknown."""
        return str(self.outcome.of_role(RELEASE).get(LOCALHOST, {}).get("commit", ""))


def converge(environment: Mapping[str, str], out: startlog.Log) -> tuple[record.Record, int]:
    """Return the record of the server to execute and 0, or an empty record and an exit status."""
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
    except OSError as error:  # a full or missing volume
        out.error(f"{error.filename or record.STATE}: {error.strerror}.")
        return {}, ExitCode.FAILED


class Start:
    """A start that runs the play."""

    def __init__(
        self, environment: Mapping[str, str], catalogue: settings.Catalogue, values: variables.Values, log: startlog.Log
    ) -> None:
        self._environment = environment
        self._catalogue = catalogue
        self._values = values
        self._log = log
        self._store = generations.Store(values, catalogue)

    def run(self) -> tuple[record.Record, int]:
        """Run the play, with fallbacks. Return the record of the server to execute and 0, or an exit status."""
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
        warning = f"{sentence(attempt.failure)} Starting generation {number} instead, which passed its gate."
        self._log.warning(warning)
        return self._keep(number, first, warning, known=lasting, lasting=lasting), 0

    def _attempt(self, values: variables.Values, warning: str = "", lasting: bool = False) -> Attempt:
        outcome = runner.run(runner.Request(PLAYBOOK, values), Narrator(self._log, self._catalogue.stages[PLAYBOOK]))
        return Attempt(outcome, warning, lasting)

    def _with_another_release(self, first: Attempt) -> Attempt:
        """Try the installed release, then the role's default build, because the newest is not available."""
        reason = sentence(typing.cast("Failure", first.failure))
        never = self._values.get(variables.UPDATE) == NEVER
        # If the commit is known, building it failed.
        lasting = bool(first.commit)
        self._log.info(f"{reason} Trying an installed release.")
        others = (
            ({} if never else {**self._values, variables.UPDATE: NEVER}, "Using the installed release."),
            (variables.pinned(self._values, self._catalogue), "Using the default build of llama-fleet."),
        )
        for values, outcome in others:
            attempt = self._attempt(values, f"{reason} {outcome}", lasting) if values else first
            if not attempt.without_release:
                self._log.warning(attempt.warning)
                return attempt
        return first

    def _keep(self, number: int, first: Attempt, warning: str, *, known: bool, lasting: bool) -> record.Record:
        """Write the record for the next start. Unless ``known``, the next start runs the play in any case."""
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
            self._log.info(
                f"It is retried in a day or when settings change. To retry at the next start, remove {record.path()}."
            )
        try:
            pathlib.Path(record.STATE).mkdir(parents=True, exist_ok=True)
            self._store.remember(number)
            record.write(kept)
        except OSError as error:
            self._log.warning(
                f"The next start will run the play again, because {record.path()} cannot be written ({error.strerror})."
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
    """Return the failure's message as a sentence, because it may end with lines of a log."""
    return f"{failure.text.rstrip(ENDINGS)}."


def may_go_back(failure: Failure) -> bool:
    """Return whether an older generation may start instead. Not if a server setting is wrong: the user must fix it."""
    return failure.role in _STAGES and not (failure.role == SERVER and failure.plan)
