# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Start the process that builds a native release beside an instance, once."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.background import worker
from ansible_collections.llama_fleet.core.plugins.module_utils.host import files, unprivileged
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import background
from ansible_collections.llama_fleet.core.plugins.module_utils.server import gating, native_build

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.instance import Instance

# Seconds that the process may take to write its record.
_PATIENCE = 60.0
# What a build may need of its surroundings: the way to the network, and the user's settings of the tools that it runs.
_PASSED_ON = re.compile(
    r"PATH|HOME|LANG|TZ|(https?|no|all|ftp)_proxy|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE|"
    r"(PIP|UV|GIT|LLAMA_FLEET)_\w+",
    re.IGNORECASE,
)
# Ansible's archive has a sitecustomize.py that only Ansible can run, so it comes into the path after the start.
_RUN = (
    f"import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('{worker.__name__}', None, '__main__')"
)


class Wanted(typing.NamedTuple):
    """The build that is wanted, as a plan of the release has told it, and the arguments of each stage."""

    build: str
    target: str
    known: str
    arguments: worker.Arguments


def start(wanted: Wanted, dry: bool) -> bool:
    """Start the build, and return once it has begun; return False if it already runs or has been judged.

    A build of another release is ended first. With ``dry`` nothing is done. Raises ProblemError.
    """
    instance = worker.instance_of(wanted.arguments)
    folder = instance.options.folder
    if dry:
        return background.read(folder).is_due(wanted.target) and not _why_never(instance)
    with files.locked(folder / ".background.lock"):
        record = background.read(folder)
        if not record.is_due(wanted.target):
            return False
        reason = _why_never(instance)
        if reason:
            judged = background.Background(wanted.target, wanted.build, outcome=background.KEPT, reason=reason)
            background.write(folder, judged)
            return False
        native_build.end(instance)
        place = folder / worker.FOLDER
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700)
        code = _code(place)
        job = {**wanted._asdict(), "environment": _environment()}
        files.write_json(place / worker.JOB, job, 0o600)
        child = _launch(instance, place, code)
        _await(folder, wanted.target, place, child)
    return True


def _why_never(instance: Instance) -> str:
    """Return why a native release would never be compared; empty if it would be."""
    current = instance.store.current()
    return gating.UNMEASURED if current and gating.mode_of(current.options) != "completion" else ""


def _code(place: pathlib.Path) -> pathlib.Path:
    """Return what to import the worker from: a copy of the module's own archive, or the folder that it lies in."""
    path = pathlib.Path(worker.__file__)
    root = path.parents[len(worker.__name__.split(".")) - 1]
    if root.is_dir():
        return root
    copy = place / "code.zip"
    shutil.copyfile(root, copy)
    return copy


def _environment() -> dict[str, str]:
    return {
        name: value for name, value in unprivileged.without_secrets(os.environ).items() if _PASSED_ON.fullmatch(name)
    }


def _launch(instance: Instance, place: pathlib.Path, code: pathlib.Path) -> subprocess.Popen[bytes] | None:
    command = [sys.executable, "-c", _RUN, str(code), str(place / worker.JOB)]
    if native_build.in_unit(instance):
        unit = native_build.unit_of(instance)
        # The weights are of the build; the worker takes those of a server back before it compares two.
        weights = ("CPUWeight=1", "IOWeight=1", "CPUAccounting=yes")
        # A compiler that the kernel kills for memory is no reason to end the worker, which has to say so.
        limits = [f"--property={name}" for name in (*weights, "OOMPolicy=continue")]
        run = ["systemd-run", "--quiet", "--collect", f"--unit={unit}", *limits]
        # One of an instance that was removed may be left.
        instance.host.run(["systemctl", "stop", unit])
        instance.host.run(["systemctl", "reset-failed", unit])
        done = instance.host.run([*run, *command])
        if not done.ok:
            raise _refused(done.stderr.strip() or f"exit status {done.code} of systemd-run")
        return None
    with (place / worker.LOG).open("wb") as log:
        return subprocess.Popen(  # pylint: disable=ansible-bad-function  # because run_command waits for it
            command,
            env=unprivileged.without_secrets(os.environ),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _await(folder: pathlib.Path, target: str, place: pathlib.Path, child: subprocess.Popen[bytes] | None) -> None:
    """Wait until the process has written its record. Raises ProblemError."""
    limit = time.monotonic() + _PATIENCE
    while not _has_begun(background.read(folder), target):
        gone = child is not None and child.poll() is not None
        if gone or time.monotonic() >= limit:
            log = place / worker.LOG
            said = log.read_text(encoding="utf-8", errors="replace").strip() if log.is_file() else ""
            raise _refused(said.splitlines()[-1] if said else "a process that did not begin")
        time.sleep(0.05)


def _has_begun(record: background.Background, target: str) -> bool:
    return record.target == target and (record.is_running or bool(record.outcome))


def _refused(reason: str) -> ProblemError:
    fix = "set llama_cpp_method to auto or source"
    return ProblemError(Problem("llama_cpp_method", reason, "a native build that begins in the background", fix))
