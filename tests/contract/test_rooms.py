# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Rooms of the collection's code know only the rooms below them, and no import leads back to where it began."""

import ast
import functools
import graphlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "collections/ansible_collections/llama_fleet/core/plugins"
_PACKAGE = "ansible_collections.llama_fleet.core.plugins"

HALL = "hall"
_BASE = frozenset({HALL, "host"})
_BYTES = _BASE | {"fetch"}
# The rooms of module_utils, each with the rooms that it may import. The hall is what every module shares. `host`,
# `fetch`, `gguf`, `transfer` and `caches` know no stage; the five stages are nvidia, cuda, llama_cpp, model and server.
MAY_IMPORT: dict[str, frozenset[str]] = {
    HALL: frozenset(),
    "host": frozenset({HALL}),
    "fetch": _BASE,
    "gguf": _BYTES,
    "transfer": _BYTES,
    "caches": _BASE,
    "tools": _BYTES,
    "cuda": _BYTES | {"tools"},
    # The driver that a CUDA release needs.
    "nvidia": _BASE | {"cuda"},
    # A release's memory plan reads a model's header and the GPUs.
    "release": _BYTES | {"gguf", "nvidia", "tools"},
    "llama_cpp": _BYTES | {"release", "tools"},
    # A model is chosen by the release's own memory plan, and kept while a generation uses it.
    "model": _BYTES | {"caches", "gguf", "release", "tools", "transfer"},
    "server.settings": _BASE | {"release"},
    "server.state": _BASE | {"server.settings"},
    "server.gate": _BASE | {"server.settings", "server.state"},
    "server.runtimes": _BASE | {"gguf", "server.gate", "server.settings", "server.state"},
    "server.proof": _BASE | {"gguf", "nvidia", "release", "server.runtimes", "server.settings", "server.state"},
    "server": _BASE
    | {"nvidia", "release", "server.gate", "server.proof", "server.runtimes", "server.settings", "server.state"},
    "server.status": _BASE
    | {"gguf", "nvidia", "release", "server", "server.gate", "server.proof", "server.runtimes"}
    | {"server.settings", "server.state"},
    # The gateway knows servers by their addresses only.
    "gateway": _BASE | {"tools"},
    # One call plans all stages.
    "planning": frozenset({HALL, "cuda", "llama_cpp", "model", "nvidia", "server", "server.settings"}),
    # A native build beside an instance runs several stages, long after its play.
    "background": frozenset({HALL, "host", "planning", "release", "server", "server.runtimes", "server.settings"}),
    # Doctor asks on behalf of every stage.
    "preflight": _BYTES
    | {"cuda", "gguf", "llama_cpp", "model", "release", "tools"}
    | {"server", "server.proof", "server.runtimes", "server.settings", "server.state"},
}


@functools.cache
def modules() -> dict[str, pathlib.Path]:
    """Return every Python file below ``plugins`` by its dotted name."""
    return {".".join(path.relative_to(PLUGINS).with_suffix("").parts): path for path in PLUGINS.rglob("*.py")}


@functools.cache
def imports(types: bool = True) -> dict[str, set[str]]:
    """Return what each module imports of the others, with ``types`` also what only the type checker imports."""
    found: dict[str, set[str]] = {name: set() for name in modules()}
    for name, path in modules().items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree if types else _Running().visit(tree)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_PACKAGE):
                package = (node.module or "").removeprefix(_PACKAGE).lstrip(".")
                for alias in node.names:
                    inner = f"{package}.{alias.name}".lstrip(".")
                    found[name].add(inner if inner in modules() else package)
    return found


class _Running(ast.NodeTransformer):
    """Remove what only the type checker reads."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if "TYPE_CHECKING" in ast.unparse(node.test) else self.generic_visit(node)


def room_of(module: str) -> str:
    """Return the room of a module in module_utils, else its kind of plugin."""
    kind, *folders = module.split(".")[:-1]
    return (".".join(folders) or HALL) if kind == "module_utils" else kind


def test_every_import_leads_to_a_module() -> None:
    unknown = {(name, target) for name, targets in imports().items() for target in targets - set(modules())}
    assert not unknown


def test_every_room_is_in_the_table_and_stands_alone() -> None:
    assert {room_of(name) for name in modules() if name.startswith("module_utils.")} == set(MAY_IMPORT)
    graphlib.TopologicalSorter(MAY_IMPORT).prepare()


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_room_imports_only_what_it_may(room: str) -> None:
    strange = {
        f"{name} imports {target}"
        for name, targets in imports().items()
        for target in targets
        if room_of(name) == room and room_of(target) not in MAY_IMPORT[room] | {room}
    }
    assert not strange


def test_a_room_has_the_table_s_whole_right() -> None:
    """The table allows nothing that no room uses, so that it describes the rooms as they are."""
    used: dict[str, set[str]] = {room: set() for room in MAY_IMPORT}
    for name, targets in imports().items():
        if room_of(name) in used:
            used[room_of(name)] |= {room_of(target) for target in targets} - {room_of(name)}
    assert {room: MAY_IMPORT[room] - used[room] - _BYTES for room in MAY_IMPORT} == {room: set() for room in MAY_IMPORT}


def test_nothing_on_a_host_imports_what_only_the_controller_has() -> None:
    strange = {
        f"{name} imports {target}"
        for name, targets in imports().items()
        for target in targets
        if room_of(name) in {*MAY_IMPORT, "modules"} and room_of(target) not in {*MAY_IMPORT, "doc_fragments"}
    }
    assert not strange


def test_no_import_leads_back_to_where_it_began() -> None:
    """Within a room, two modules may name each other's types."""
    try:
        graphlib.TopologicalSorter(imports(types=False)).prepare()
    except graphlib.CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        pytest.fail(f"expected no circle of imports, found {circle}")
