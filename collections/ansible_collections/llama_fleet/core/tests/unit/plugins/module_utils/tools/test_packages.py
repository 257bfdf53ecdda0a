# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import packages


class _Apt:
    """A Runner whose update says ``update`` and whose installation says ``install``."""

    def __init__(self, update: str = "", install: str = "") -> None:
        self.said = {"update": update, "install": install}
        self.commands: list[typing.Sequence[str]] = []

    def __call__(self, command: typing.Sequence[str], **_more: object) -> Result:
        self.commands.append(command)
        said = next(text for name, text in self.said.items() if name in command)
        return Result(100 if said else 0, "", said)


def test_packages_are_installed_in_one_step_even_if_the_update_fails() -> None:
    apt = _Apt(update="E: no such host\n")
    packages.install(["haproxy", "g++"], "haproxy", apt)
    assert list(apt.commands[1][-3:]) == ["--no-install-recommends", "haproxy", "g++"]


def test_a_failure_tells_what_apt_said() -> None:
    with pytest.raises(ProblemError, match=r"haproxy: expected the packages haproxy, found 'E: no candidate' from apt"):
        packages.install(["haproxy"], "haproxy", _Apt(install="Reading…\nE: no candidate\n"))
    with pytest.raises(ProblemError, match="E: no such host"):
        packages.install(["haproxy"], "haproxy", _Apt(update="E: no such host\n", install="sorry"))
