# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Select among several instances on one host, and check their entries."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import pathlib
import typing

from ansible.module_utils.common.yaml import yaml_load

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, nearest, one_of
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.instance_name import (
    ACCEPTED,
    is_instance_name,
)
from ansible_collections.llama_fleet.core.plugins.plugin_utils import role_variables

VARIABLE = "llama_server_instances"
ONE = "llama_server_instance"
STAGES = ("nvidia_driver", "cuda_toolkit", "llama_cpp", "gguf_model", "llama_server")
# Variables that all instances of a host share.
_COMMON = frozenset({VARIABLE, ONE, "llama_server_root", "llama_server_runtime_root"})
_NOT_THEIRS = ("_plan_only", "_overrides")
PLAYBOOKS = pathlib.Path(__file__).resolve().parents[2] / "playbooks"
_EVERYWHERE = ("0.0.0.0", "::", "")

# Treating it as no entries would create one instance that no one asked for.
UNKNOWN_YET = Problem(
    VARIABLE, "a template with a variable that is not defined", "entries that are known before the first stage runs"
)

Values = typing.Mapping[str, typing.Any]
Specs = typing.Mapping[str, role_variables.Spec]


@functools.cache
def wired(playbooks: pathlib.Path = PLAYBOOKS) -> frozenset[str]:
    """Return the variables that the play ``site`` sets, mostly from a stage's result; no entry can set them."""
    (play,) = yaml_load((playbooks / "site.yml").read_text(encoding="utf-8"))
    files = [yaml_load((playbooks / name).read_text(encoding="utf-8")) for name in play["vars_files"]]
    names = {name for variables in (play["vars"], *files) for name in variables}
    return frozenset(name for name in names if not name.startswith("llama_fleet_") and not name.endswith(_NOT_THEIRS))


@dataclasses.dataclass(frozen=True)
class HostInstances:
    """A host's instance entries, and its values for all of them; ``specs`` are the roles' own."""

    entries: Values
    values: Values
    specs: Specs

    def effective(self, name: str, variable: str) -> typing.Any:
        """Return an instance's value: its own, else the host's, else the role's default."""
        entry = _entry(self.entries[name])
        default = next((spec[variable].get("default") for spec in self.specs.values() if variable in spec), None)
        return entry.get(variable, self.values.get(variable, default))

    def started(self) -> list[str]:
        return [name for name in self.entries if self.effective(name, "llama_server_state") == "started"]


def _entry(entry: typing.Any) -> Values:
    return entry if isinstance(entry, typing.Mapping) else {}


def chosen(host: HostInstances, given: str | None, default: str) -> list[str]:
    """Return the names of the selected instances; stopped ones come first, to free resources for the others."""
    if not host.entries:
        return [given or default]
    if given in host.entries:
        return [str(given)]
    started = host.started()
    return sorted(host.entries, key=lambda name: name in started)


def instance_problems(host: HostInstances, given: str | None, default: str) -> list[Problem]:
    """Return the problems of the entries that are known without inspecting the host."""
    if not host.entries:
        return []
    problems = [
        problem for name, entry in host.entries.items() for problem in _entry_problems(str(name), entry, host.specs)
    ]
    if given not in (None, default, *host.entries):
        problems.append(
            Problem(
                ONE,
                f"'{given}'",
                f"{one_of(map(str, host.entries))}, which are the {VARIABLE}",
                "leave it out for all of them",
            )
        )
    return [*problems, *_same_ports(host)]


def ambiguous(names: typing.Sequence[str]) -> list[Problem]:
    """Return a problem if several instances are selected where one is needed."""
    return [Problem(ONE, "no name, and several instances", f"one of {one_of(sorted(names))}")] if len(names) > 1 else []


def _entry_problems(name: str, entry: typing.Any, specs: Specs) -> typing.Iterator[Problem]:
    if not is_instance_name(name):
        yield Problem(VARIABLE, f"the name '{name}'", ACCEPTED)
    if not isinstance(entry, typing.Mapping):
        if entry is not None:
            yield Problem(
                f"instance {name}",
                f"'{entry}'",
                "variables of the roles by their full names, such as llama_server_port: 8081",
            )
        return
    usable = {variable: option for spec in specs.values() for variable, option in spec.items() if _may_have(variable)}
    for variable in entry:
        if variable not in usable:
            yield _not_usable(name, str(variable), usable)
    known = {variable: value for variable, value in entry.items() if variable in usable}
    for problem in role_variables.wrong(known, usable):
        yield dataclasses.replace(problem, subject=f"{problem.subject} of instance {name}")


def _may_have(variable: str) -> bool:
    return variable not in wired() | _COMMON and not variable.endswith(_NOT_THEIRS)


def _not_usable(name: str, variable: str, usable: typing.Collection[str]) -> Problem:
    subject = f"{variable} of instance {name}"
    if variable in wired():
        return Problem(
            subject,
            "a variable that the play sets from another stage's result",
            "a variable of the roles that users set",
        )
    if variable in _COMMON:
        return Problem(
            subject,
            "a variable that all instances of a host have in common",
            "it beside the instances",
            f"move it out of {VARIABLE}",
        )
    # Also compare without the role's name, which is easily left out.
    near = nearest(variable, usable) or [
        full for short in nearest(variable, map(_short, usable)) for full in usable if _short(full) == short
    ]
    return Problem(
        subject,
        "a variable that no role has",
        "one by its full name",
        f"use {one_of(near)}" if near else "see the reference",
    )


def _short(variable: str) -> str:
    return next((variable[len(role) + 1 :] for role in STAGES if variable.startswith(f"{role}_")), variable)


def _same_ports(host: HostInstances) -> typing.Iterator[Problem]:
    for first, second in itertools.combinations(host.started(), 2):
        port = host.effective(first, "llama_server_port")
        addresses = {str(host.effective(name, "llama_server_host")) for name in (first, second)}
        if str(port) == str(host.effective(second, "llama_server_port")) and (
            len(addresses) == 1 or addresses & set(_EVERYWHERE)
        ):
            yield Problem(
                "llama_server_port",
                f"{port} for both instances {first} and {second}",
                "a port for each",
                "set it in their entries",
            )


def shared_gpus(host: HostInstances) -> list[Problem]:
    """Return a problem for each two instances that use the same GPU because one of them names none.

    Naming the same GPU in both is intentional.
    """
    problems = []
    computing = [name for name in host.started() if host.effective(name, "nvidia_driver_gpu") != "none"]
    for first, second in itertools.combinations(computing, 2):
        everything = [name for name in (first, second) if not host.effective(name, "llama_server_devices")]
        if everything:
            taken = f"every GPU for {' and '.join(everything)}, and so the same ones for {first} and {second}"
            fix = "name the same in both to share it, or set nvidia_driver_gpu: none for one that computes on the CPU"
            problems.append(Problem("llama_server_devices", taken, "devices such as CUDA0 for each instance", fix))
    return problems
