# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A runtime answers for itself: no code outside of server/runtimes asks one for its name or its type."""

import ast
import pathlib
import re
from collections.abc import Iterator

import pytest
import yaml

from ansible_collections.llama_fleet.core.plugins.module_utils import runtimes
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import stage as nvidia_stage
from ansible_collections.llama_fleet.core.plugins.module_utils.runtimes import AUTO
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import classes
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import Place, RuntimeHost
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.registry import RUNTIMES
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.arguments import ARGUMENTS

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORE = ROOT / "collections/ansible_collections/llama_fleet/core"
ROOM = CORE / "plugins/module_utils/server/runtimes"
# The one place that lists the names.
HALL = CORE / "plugins/module_utils/runtimes.py"
PYTHON = [
    path
    for folder in (ROOT / "src", CORE / "plugins")
    for path in sorted(folder.rglob("*.py"))
    if ROOM not in path.parents and path != HALL
]
YAML = [path for folder in ("playbooks", "roles") for path in sorted((CORE / folder).rglob("*.yml"))]
CLASSES = {kind.__name__ for kind in RUNTIMES.values()}
_NAME = "|".join(RUNTIMES)
# What compares in a template: ``== 'systemd'`` or ``in ['systemd', ...]``.
_TEMPLATE = re.compile(rf"(?:[!=]=\s*|\bin\s*[\[(][^\])]*)['\"](?:{_NAME})['\"]")


def _words(node: ast.AST) -> set[str]:
    return {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}


def _classes(node: ast.AST) -> set[str]:
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return CLASSES & (names | {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)})


def comparisons(source: str) -> Iterator[str]:
    """Yield each place that compares a runtime's name or type, and each list of names that could be compared with."""
    for node in ast.walk(ast.parse(source)):
        if _compares(node):
            yield f"line {getattr(node, 'lineno', 0)}: {ast.unparse(node)}"


def _compares(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        return bool(_words(node) & set(RUNTIMES) or _classes(node))
    if isinstance(node, ast.MatchValue):
        return bool(_words(node) & set(RUNTIMES))
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) in ("isinstance", "issubclass") and bool(_classes(node))
    if isinstance(node, (ast.Tuple, ast.List, ast.Set, ast.Dict)):
        parts = node.keys if isinstance(node, ast.Dict) else node.elts
        return len({part.value for part in parts if isinstance(part, ast.Constant)} & set(RUNTIMES)) > 1
    return False


def test_nothing_outside_of_the_room_compares_a_runtime() -> None:
    found = [f"{path.relative_to(ROOT)}, {told}" for path in PYTHON for told in comparisons(path.read_text("utf-8"))]
    assert found == []


def test_no_play_compares_a_runtime() -> None:
    found = [
        f"{path.relative_to(ROOT)}, line {number}: {line.strip()}"
        for path in YAML
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if _TEMPLATE.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "runtime == 'systemd'",
        "'exec' != options.runtime",
        "name in ('quadlet', x)",
        "isinstance(runtime, (DockerRuntime, int))",
        "isinstance(runtime, systemd.SystemdRuntime)",
        "type(runtime) is ProcessRuntime",
        "APART = ['systemd', 'quadlet']",
        "text('', ('systemd', 'docker'))",
        "ACCESS = {'quadlet': 'cdi', 'docker': 'toolkit'}",
        "match name:\n    case 'docker':\n        pass",
    ],
)
def test_each_way_to_compare_is_seen(source: str) -> None:
    assert len(list(comparisons(source))) == 1


@pytest.mark.parametrize("source", ["values = {'runtime': 'exec'}", "a == 'b'"])
def test_to_choose_a_runtime_is_no_comparison(source: str) -> None:
    assert list(comparisons(source)) == []


@pytest.mark.parametrize("line", ["x == 'systemd'", "x in ['auto', 'docker']", 'x != "exec"'])
def test_each_way_to_compare_in_a_template_is_seen(line: str) -> None:
    assert _TEMPLATE.search(line)


def test_the_classes_of_the_registry_are_called_as_in_the_hall() -> None:
    assert list(RUNTIMES) == [kind.name for kind in classes.ALL] == list(runtimes.GPU_ACCESS)


def test_whoever_names_all_runtimes_names_those_of_the_registry() -> None:
    assert ARGUMENTS["runtime"]["choices"] == [AUTO, *RUNTIMES]
    assert nvidia_stage.ARGUMENTS["runtime"]["choices"] == ["", AUTO, *RUNTIMES]
    for role, variable in (("llama_server", "llama_server_runtime"), ("nvidia_driver", "nvidia_driver_runtime")):
        specs = yaml.safe_load((CORE / f"roles/{role}/meta/argument_specs.yml").read_text("utf-8"))
        choices = specs["argument_specs"]["main"]["options"][variable]["choices"]
        assert [name for name in choices if name] == [AUTO, *RUNTIMES]


def test_a_runtime_that_hands_on_gpus_is_known_to_the_first_stage() -> None:
    ways = runtimes.GPU_ACCESS
    # An engine hands on GPUs in its own way; a unit has a user of its own.
    assert {name for name, way in ways.items() if way} == {
        name for name, kind in RUNTIMES.items() if kind.own_control_group
    }
    assert len({ways[name] for name, kind in RUNTIMES.items() if kind.engine}) == 2


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_is_called_as_in_the_registry(name: str, tmp_path: pathlib.Path) -> None:
    runtime = RUNTIMES[name].at(Place(tmp_path / "default", tmp_path, RuntimeHost()))
    assert (runtime.name, type(runtime)) == (name, RUNTIMES[name])
