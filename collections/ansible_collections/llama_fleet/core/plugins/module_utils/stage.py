# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run a module's stage: report its problems, and never a traceback for bad input."""

from __future__ import annotations

import dataclasses
import os
import signal
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import payload, unwatched
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

if typing.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

Arguments = dict[str, dict[str, typing.Any]]
# Argument of every stage module. Its action plugin merges it into the other arguments before it calls the module.
OVERRIDES: Arguments = {"overrides": {"type": "dict", "default": {}}}
# Arguments of every module whose action plugin shows its progress.
PROGRESS_ARGUMENTS: Arguments = {
    "progress_file": {"type": "path"},
    "plan_only": {"type": "bool", "default": False},
    **OVERRIDES,
}


class Caller(typing.Protocol):
    """The caller of a stage: its module, or the plan of a whole instance."""

    params: dict[str, typing.Any]
    check_mode: bool

    def warn(self, warning: str) -> None:
        """Add a warning to the result."""


class RefusedError(Exception):
    """A stage has failed, but its result still has values that others use."""

    def __init__(self, message: str, result: dict[str, typing.Any]) -> None:
        super().__init__(message)
        self.result = result


def told(error: ProblemError) -> list[dict[str, str]]:
    """Return the problems of an error as a module reports them."""
    return [dataclasses.asdict(problem) for problem in error.problems]


def conclude(module: AnsibleModule, stage: typing.Callable[[AnsibleModule], dict[str, typing.Any]]) -> None:
    """Run ``stage`` and exit with its result, or fail with all of its problems in one message.

    A SIGTERM (Ctrl-C on the controller) ends it like an exception: children are stopped, and locks and temporary files
    are removed.
    """
    payload.forget(str(getattr(module, "_remote_tmp", "") or ""))
    signal.signal(signal.SIGTERM, _stop)
    unwatched.guard(str(module.params.get("progress_file") or ""))
    # Unprivileged users read releases and models; files with secrets are written with their own mode.
    os.umask(0o022)
    # AnsibleModule takes a result named "path" for a managed file, and would add that file's size to our result.
    module.add_path_info = lambda result: result
    try:
        result = stage(module)
    except ProblemError as error:
        module.fail_json(msg=str(error), problems=told(error))
    except RefusedError as error:
        module.fail_json(msg=str(error), **error.result)
    else:
        module.exit_json(**result)


def _stop(number: int, _frame: object) -> typing.NoReturn:
    raise SystemExit(128 + number)
