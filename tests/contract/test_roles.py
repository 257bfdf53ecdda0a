"""A role's declarations, defaults and arguments of its module agree: keys, types and values."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import typing

import pytest
import yaml

from ansible_collections.llama_fleet.core.plugins.plugin_utils import instances
from llama_fleet import settings

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLLECTION = ROOT / "collections" / "ansible_collections" / "llama_fleet" / "core"
ROLES = sorted(path.name for path in (COLLECTION / "roles").iterdir())
PYTHON_TYPES: dict[str, type] = {
    "bool": bool,
    "dict": dict,
    "float": float,
    "int": int,
    "list": list,
    "path": str,
    "str": str,
}
# What a play reads and no module: it runs the role once for each of them.
FOR_THE_PLAY = {"llama_server_instances", "llama_gateway_hosts"}
# What a module's action plugin sets.
OF_THE_ACTION = {
    "progress_file",
    "offered",
    "published",
    "unanswered",
    "asks_first",
    "install_git",
    "known",
    "for_instance",
    "native",
}
CONNECTION = re.compile(r"ansible_(user|become|host|connection|port)")

Mapping = dict[str, typing.Any]


@functools.cache
def load(path: pathlib.Path) -> typing.Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def spec(role: str) -> Mapping:
    return typing.cast(
        "Mapping",
        load(COLLECTION / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"],
    )


def defaults(role: str) -> Mapping:
    return typing.cast("Mapping", load(COLLECTION / "roles" / role / "defaults" / "main.yml"))


def module_call(role: str) -> tuple[str, Mapping, str]:
    """Name of the role's only module, its arguments, and where the result goes."""
    (task,) = load(COLLECTION / "roles" / role / "tasks" / "main.yml")
    (module,) = [name for name in task if name.startswith("llama_fleet.core.")]
    return module.rpartition(".")[2], task[module], task["register"]


@functools.cache
def documented(module: str) -> Mapping:
    """Return the module's documented options, fragments included; ansible-test compares them with its argument_spec."""
    command = [str(pathlib.Path(sys.executable).parent / "ansible-doc"), "--json", f"llama_fleet.core.{module}"]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")}
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return typing.cast("Mapping", json.loads(shown.stdout)[f"llama_fleet.core.{module}"]["doc"]["options"])


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_those_of_the_spec(role: str) -> None:
    declared = {name: option.get("default") for name, option in spec(role).items() if not option.get("required")}
    assert defaults(role) == declared


@pytest.mark.parametrize("role", ROLES)
def test_defaults_have_the_declared_type(role: str) -> None:
    for name, value in defaults(role).items():
        assert type(value) is PYTHON_TYPES[spec(role)[name]["type"]], name
        values = value if isinstance(value, list) else [value]
        assert all(one in spec(role)[name].get("choices", values) for one in values), name


@pytest.mark.parametrize("role", ROLES)
def test_variables_carry_the_name_of_their_role(role: str) -> None:
    assert all(name.startswith(f"{role}_") for name in spec(role))


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_reaches_the_module(role: str) -> None:
    _module, arguments, register = module_call(role)
    assert arguments == {
        name.removeprefix(f"{role}_"): f"{{{{ {name} }}}}" for name in spec(role) if name not in FOR_THE_PLAY
    }
    assert register == f"{role}_result"


@pytest.mark.parametrize("role", ROLES)
def test_the_module_takes_what_the_role_has(role: str) -> None:
    module, _arguments, _register = module_call(role)
    options = {f"{role}_{name}": option for name, option in documented(module).items() if name not in OF_THE_ACTION}
    assert set(options) == set(spec(role)) - FOR_THE_PLAY
    for name, option in options.items():
        for field in ("type", "elements", "choices"):
            assert option.get(field) == spec(role)[name].get(field), f"{field} of {name}"
        if "default" in option:
            assert option["default"] == spec(role)[name]["default"], name


def wired(play: str) -> set[str]:
    """Return the variables that a play sets, without its own."""
    (content,) = load(COLLECTION / "playbooks" / f"{play}.yml")
    files = sorted((COLLECTION / "playbooks" / "tasks").glob("*.yml")) if play == "site" else []
    tasks = [*content["tasks"], *(task for file in files for task in load(file))]
    tasks += [inner for task in tasks for inner in task.get("block", [])]
    shared = [load(COLLECTION / "playbooks" / name) for name in content.get("vars_files", [])]
    variables = [*(part.get("vars", {}) for part in [content, *tasks]), *shared]
    names = {name for each in variables for name in each}
    return {name for name in names if not name.startswith("llama_fleet_")}


@pytest.mark.parametrize("play", settings.PLAYBOOKS)
def test_plays_set_only_variables_of_their_roles(play: str) -> None:
    assert wired(play) <= {name for role in ROLES for name in spec(role)}


def test_no_entry_of_an_instance_can_set_what_the_play_does() -> None:
    assert {name for name in wired("site") if not name.endswith(("_overrides", "_plan_only"))} == instances.wired()


def test_the_entries_of_instances_are_checked_against_every_role() -> None:
    # A gateway serves instances and is no part of one.
    assert sorted([*instances.STAGES, "llama_gateway"]) == ROLES


@pytest.mark.parametrize("play", settings.PLAYBOOKS)
def test_plays_for_a_clone_are_those_of_the_collection(play: str) -> None:
    (content,) = load(ROOT / "playbooks" / f"{play}.yml")
    assert content["import_playbook"] == f"llama_fleet.core.{play}"


@pytest.fixture(scope="module")
def inventory() -> Mapping:
    """inventories/example as Ansible reads it."""
    command = pathlib.Path(sys.executable).with_name("ansible-inventory")
    done = subprocess.run(
        [command, "-i", "inventories/example", "--list"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return typing.cast("Mapping", json.loads(done.stdout))


def test_the_example_has_hosts_of_both_kinds(inventory: Mapping) -> None:
    assert inventory["gpu_hosts"]["hosts"]
    assert inventory["cpu_hosts"]["hosts"]


def test_the_example_sets_only_variables_that_exist(inventory: Mapping) -> None:
    declared = {name: option for role in ROLES for name, option in spec(role).items()}
    for host, variables in inventory["_meta"]["hostvars"].items():
        assert variables["ansible_become"] is True, host
        for name, value in variables.items():
            if not CONNECTION.fullmatch(name):
                assert name in declared, f"{name} of {host}"
                assert type(value) is PYTHON_TYPES[declared[name]["type"]], f"{name} of {host}"


def test_the_example_has_models_by_group_and_values_of_single_hosts(inventory: Mapping) -> None:
    values = inventory["_meta"]["hostvars"]
    models = {
        group: {values[host]["gguf_model_source"] for host in inventory[group]["hosts"]}
        for group in ("gpu_hosts", "cpu_hosts")
    }
    assert not models["gpu_hosts"] & models["cpu_hosts"]
    assert len(models["gpu_hosts"]) > 1
