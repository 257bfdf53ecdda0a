# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 - because Ansible wants the documentation before the imports.
"""Make the output of ``ansible-playbook`` in a clone the same as that of the command."""

from __future__ import annotations

DOCUMENTATION = r"""
name: llama_fleet
type: stdout
short_description: One line per stage and host, each problem once, and the result
version_added: 0.1.0
description:
  - Prints one line for each stage of each host, and the progress of a long stage in place on a terminal.
  - Prints each problem once.
  - Ends with what changed, the endpoints and the answers. The plays C(doctor) and C(status) end with the table of the
    command.
  - With C(-v) Ansible's default callback prints everything else.
  - Needs the environment that C(./llama-fleet) makes. Without it, Ansible's default callback prints everything.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - stdout_callback = llama_fleet in ansible.cfg
"""

import os
import sys
import time
import typing

from ansible import context
from ansible.plugins.callback.default import CallbackModule as Default

if typing.TYPE_CHECKING:
    from collections.abc import Callable

    from llama_fleet.cli.playbook import Playbook

ERASE = "\r\x1b[2K"


class Screen:
    """A stream that prints through Ansible, so that Ansible's log file has the lines as well."""

    def __init__(self, display: Callable[..., None]) -> None:
        self._display = display

    def isatty(self) -> bool:
        return sys.stdout.isatty()

    def flush(self) -> None:
        sys.stdout.flush()

    def write(self, text: str) -> None:
        if not text.endswith("\n"):  # progress, which the next line replaces
            sys.stdout.write(text)
            return
        self._display(text, screen_only=True)
        self._display(text.removeprefix(ERASE).rstrip("\n"), log_only=True)


def _default(name: str) -> Callable[..., None]:
    """Return a method that does what Ansible's default callback does, or nothing if we print."""

    def method(self: CallbackModule, *arguments: typing.Any, **more: typing.Any) -> None:
        if self.is_default:
            getattr(Default, name)(self, *arguments, **more)

    return method


class CallbackModule(Default):  # type: ignore[misc]  # because ansible-core declares no types for its plugins
    """Hands events to ``llama_fleet.cli.playbook``."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "llama_fleet"

    def __init__(self) -> None:
        super().__init__()
        self.is_default = True
        self._playbook: Playbook | None = None
        self._starts: dict[tuple[str, str], float] = {}

    def v2_playbook_on_start(self, playbook: typing.Any) -> None:
        self.is_default = self._display.verbosity > 0
        try:
            self._begin()
        except ImportError as error:
            self.is_default = True
            self._display.warning(
                f"llama-fleet: {sys.executable} cannot show its own output ({error}); Ansible's follows. "
                "Run './llama-fleet version' once, then use .venv/bin/ansible-playbook."
            )
        if self.is_default:
            super().v2_playbook_on_start(playbook)

    def _begin(self) -> None:
        from ansible.executor.task_result import CallbackTaskResult  # noqa: F401, PLC0415 - because it may be missing

        from llama_fleet.cli.playbook import Playbook  # noqa: PLC0415 - because it may be missing

        plain, controller = self._display.display, os.getpid()
        is_check = bool(context.CLIARGS.get("check"))
        shown = Playbook(typing.cast("typing.TextIO", Screen(plain)), check=is_check, is_quiet=self.is_default)
        self._playbook = shown
        # The playbook's last task would print the table again.
        os.environ["LLAMA_FLEET_SHOWS_TABLES"] = "1"
        if self.is_default:
            return

        def display(text: str, *arguments: typing.Any, **more: typing.Any) -> None:
            # A worker hands its lines to the controller, which prints them.
            if os.getpid() != controller or more.get("log_only") or not shown.said(text):
                plain(text, *arguments, **more)

        self._display.display = display
        # The collection's actions then write progress for a program.
        os.environ["LLAMA_FLEET_PROGRESS"] = "json"

    def v2_playbook_on_play_start(self, play: typing.Any) -> None:
        if self._playbook:
            self._playbook.begin_play(play.get_name().strip())
        if self.is_default:
            super().v2_playbook_on_play_start(play)

    def v2_runner_on_start(self, host: typing.Any, task: typing.Any) -> None:
        self._starts[host.get_name(), task._uuid] = time.monotonic()
        if self.is_default:
            super().v2_runner_on_start(host, task)

    def v2_runner_on_ok(self, result: typing.Any) -> None:
        self._happened("runner_on_ok", result)
        if self.is_default:
            super().v2_runner_on_ok(result)

    def v2_runner_on_failed(self, result: typing.Any, ignore_errors: bool = False) -> None:
        self._happened("runner_on_failed", result, ignore_errors=ignore_errors)
        if self.is_default:
            super().v2_runner_on_failed(result, ignore_errors)

    def v2_runner_on_unreachable(self, result: typing.Any) -> None:
        self._happened("runner_on_unreachable", result, ignore_errors=bool(result.task.ignore_unreachable))
        if self.is_default:
            super().v2_runner_on_unreachable(result)

    def v2_on_file_diff(self, result: typing.Any) -> None:
        if self.is_default:
            super().v2_on_file_diff(result)
            return
        for each in result.result.get("results") or [result.result]:
            if self._playbook and each.get("diff") and each.get("changed"):
                self._playbook.said(self._get_diff(each["diff"]), "runner_on_file_diff")

    def v2_playbook_on_no_hosts_matched(self) -> None:
        if self.is_default:
            super().v2_playbook_on_no_hosts_matched()
        elif self._playbook:
            self._playbook.has_no_host()

    def v2_playbook_on_stats(self, stats: typing.Any) -> None:
        if self.is_default:
            super().v2_playbook_on_stats(stats)
        if self._playbook:
            self._playbook.end()

    v2_playbook_on_task_start = _default("v2_playbook_on_task_start")
    v2_playbook_on_handler_task_start = _default("v2_playbook_on_handler_task_start")
    v2_playbook_on_include = _default("v2_playbook_on_include")
    v2_playbook_on_no_hosts_remaining = _default("v2_playbook_on_no_hosts_remaining")
    v2_playbook_on_notify = _default("v2_playbook_on_notify")
    v2_runner_on_skipped = _default("v2_runner_on_skipped")
    v2_runner_on_async_poll = _default("v2_runner_on_async_poll")
    v2_runner_on_async_ok = _default("v2_runner_on_async_ok")
    v2_runner_on_async_failed = _default("v2_runner_on_async_failed")
    v2_runner_item_on_ok = _default("v2_runner_item_on_ok")
    v2_runner_item_on_failed = _default("v2_runner_item_on_failed")
    v2_runner_item_on_skipped = _default("v2_runner_item_on_skipped")
    v2_runner_retry = _default("v2_runner_retry")

    def _happened(self, kind: str, result: typing.Any, *, ignore_errors: bool = False) -> None:
        if self._playbook is None:
            return
        task, host = result.task, result.host
        began = self._starts.pop((host.get_name(), task._uuid), time.monotonic())
        self._playbook.happened(
            kind,
            host=host.get_name(),
            remote_addr=host.address,
            task=task.name or task.action,
            resolved_action=task.resolved_action or task.action,
            role=task._role.get_name() if task._role else "",
            res=result.result,
            ignore_errors=ignore_errors,
            duration=time.monotonic() - began,
        )
