# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A Runner that runs nothing."""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result


class FakeRunner:
    """Hands out ``results`` in turn, then what ``answer`` makes of the command; keeps every command and its
    settings.
    """

    def __init__(self, *results: Result) -> None:
        self.results = list(results)
        self.commands: list[list[str]] = []
        self.environments: list[dict[str, str]] = []
        self.settings: list[dict[str, object]] = []

    def answer(self, _command: list[str]) -> Result:
        """Return success without output; subclasses override it."""
        return Result(0, "", "")

    def __call__(
        self,
        command: typing.Sequence[str],
        env: typing.Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        on_line: typing.Callable[[str], None] | None = None,
    ) -> Result:
        self.commands.append(list(command))
        self.environments.append(dict(env or {}))
        self.settings.append({"cwd": cwd, "timeout": timeout, "on_line": on_line})
        return self.results.pop(0) if self.results else self.answer(list(command))
