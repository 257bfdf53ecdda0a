# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What every module does alike: report problems, never a traceback for bad input."""

from __future__ import annotations

import os
import signal
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils import payload
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

if typing.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

Arguments = dict[str, dict[str, typing.Any]]
# The argument of every module that is a stage; its action plugin puts it in the others' places before the module is
# called.
OVERRIDES: Arguments = {"overrides": {"type": "dict", "default": {}}}
# Arguments of every module whose action plugin shows its progress.
PROGRESS_ARGUMENTS: Arguments = {
    "progress_file": {"type": "path"},
    "plan_only": {"type": "bool", "default": False},
    **OVERRIDES,
}


def conclude(module: AnsibleModule, stage: typing.Callable[[AnsibleModule], dict[str, typing.Any]]) -> None:
    """Run ``stage`` and leave with what it returns, or fail with all of its problems in one message.

    A SIGTERM (Ctrl-C on the controller) ends it as an exception does: children are stopped, locks and temporary files
    go.
    """
    payload.forget(str(getattr(module, "_remote_tmp", "") or ""))
    signal.signal(signal.SIGTERM, _stop)
    # Releases and models are read by users without rights; what is secret is written with a mode of its own.
    os.umask(0o022)
    # AnsibleModule takes any result named "path" for a file that it managed, and would put that file's size in ours.
    module.add_path_info = lambda result: result
    try:
        result = stage(module)
    except ProblemError as error:
        module.fail_json(
            msg=str(error),
            problems=[
                {"subject": p.subject, "found": p.found, "wanted": p.wanted, "fix": p.fix} for p in error.problems
            ],
        )
    else:
        module.exit_json(**result)


def _stop(number: int, _frame: object) -> typing.NoReturn:
    raise SystemExit(128 + number)
