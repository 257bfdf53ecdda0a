"""Define where a run of the tests keeps its files, and how it starts programs."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shlex
import shutil
import sys
import tempfile
import typing

from tests.harness import programs, skips

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLLECTION = ROOT / "collections" / "ansible_collections" / "llama_fleet" / "core"


# Seconds without output after which a program counts as hanging; more than any test may take (pyproject.toml's
# timeout).
SILENCE = 900.0


class FailedError(Exception):
    """A step failed; the message is for the summary."""


class SkippedError(Exception):
    """A step cannot run here; the message says why."""


@dataclasses.dataclass
class Context:
    """One run of the tests."""

    cache: pathlib.Path
    environment: dict[str, str]
    reports: pathlib.Path
    step: str = ""
    tests: list[skips.Outcome] = dataclasses.field(default_factory=list)
    # Output of steps that run in parallel, kept until each has ended; None if it is shown at once.
    kept: list[str] | None = None

    @classmethod
    def create(cls) -> Context:
        """Create the context of this machine: the cache folder, and an environment without other projects' settings."""
        cache = pathlib.Path(
            os.environ.get("LLAMA_FLEET_TEST_CACHE") or pathlib.Path.home() / ".cache" / "llama-fleet-tests"
        ).resolve()
        cache.mkdir(parents=True, exist_ok=True)
        bytecode = cache / "bytecode"
        # Bytecode of environments that tests made for themselves and no later run uses.
        shutil.rmtree(bytecode / tempfile.gettempdir().lstrip("/"), ignore_errors=True)
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ANSIBLE_", "LLAMA_", "MOLECULE_", "VIRTUAL_ENV"))
        }
        environment |= {
            "LLAMA_FLEET_TEST_CACHE": str(cache),
            "ANSIBLE_HOME": str(cache / "ansible"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "LC_ALL": "C.UTF-8",  # Ansible refuses to start without a UTF-8 locale
            "PYTHONPYCACHEPREFIX": str(bytecode),  # compiled once, and nothing in the working tree
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        return cls(cache, environment, pathlib.Path(tempfile.mkdtemp(prefix="llama-fleet-reports-")))

    def beside(self) -> Context:
        """Return a copy for steps that run in parallel."""
        environment = self.environment | {"ANSIBLE_HOME": str(self.cache / "ansible-beside")}
        return dataclasses.replace(self, environment=environment, kept=[])

    def say(self, text: str) -> None:
        """Print ``text``, or keep it for later."""
        if self.kept is None:
            print(text, flush=True)
        else:
            self.kept.append(text)

    def flush(self) -> None:
        """Print the kept output in one piece."""
        if self.kept:
            print("\n".join(self.kept), flush=True)
            self.kept.clear()

    def require_root(self, what: str) -> None:
        """Skip the step unless the user is root."""
        if os.geteuid() != 0:
            raise SkippedError(f"{what} needs root")

    def run(
        self,
        *command: str | pathlib.Path,
        cwd: pathlib.Path = ROOT,
        venv: pathlib.Path | None = None,
        env: typing.Mapping[str, str] | None = None,
        silence: float = SILENCE,
    ) -> None:
        """Run a program and show its output; raise FailedError if it fails or prints nothing for ``silence`` seconds.

        ``venv`` comes first on the PATH.
        """
        words = [str(word) for word in command]
        self.say(f"$ {shlex.join(words)}")
        environment = self.environment | dict(env or {})
        if venv:
            environment |= {"PATH": f"{venv / 'bin'}:{environment['PATH']}", "VIRTUAL_ENV": str(venv)}
        report = self.reports / f"{self.step}.xml"
        if words[0] == "pytest":
            words += ["--junitxml", str(report)]
        kept: list[bytes] = []
        try:
            code = programs.run(words, cwd, environment, silence, _pass_on if self.kept is None else kept.append)
        except FileNotFoundError as error:
            raise FailedError(f"{words[0]} is not installed") from error
        except programs.SilentError as error:
            raise FailedError(f"{pathlib.Path(words[0]).name} {error}") from error
        finally:
            if kept:
                self.say(b"".join(kept).decode(errors="replace").rstrip())
            self.note(report)
        if code:
            raise FailedError(f"{pathlib.Path(words[0]).name} ended with {code}")

    def note(self, report: pathlib.Path) -> None:
        """Add the outcomes of a test report to the summary."""
        self.tests.extend(skips.read(report, self.step))
        report.unlink(missing_ok=True)


def _pass_on(chunk: bytes) -> None:
    sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
