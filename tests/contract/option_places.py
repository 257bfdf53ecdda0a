# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Count the hand-written places that declare each option: ``python -m tests.contract.option_places [CLONE]``.

A place states an option's type, default, choices, range, flag or documentation. Generated files do not count, and
neither does code that uses the option's value.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import pathlib
import re
import sys
import typing

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORE = pathlib.Path("collections/ansible_collections/llama_fleet/core")
PLUGINS = "ansible_collections.llama_fleet.core.plugins"
GENERATED = "# Made by docs/make_reference.py"


@dataclasses.dataclass(frozen=True)
class Role:
    """The places of a role's options: its module, the class of its options, and the rooms of its code."""

    module: str
    file: str
    name: str
    rooms: tuple[str, ...]


ROLES = {
    "nvidia_driver": Role("nvidia_driver_info", "nvidia/requirements.py", "Requirements", ("nvidia",)),
    "cuda_toolkit": Role("cuda_toolkit", "cuda/plan.py", "Wanted", ("cuda",)),
    "llama_cpp": Role("llama_cpp_release", "llama_cpp/request.py", "Request", ("llama_cpp",)),
    "gguf_model": Role("gguf_model", "model/request.py", "Request", ("model",)),
    "llama_server": Role("llama_server", "server/settings/options.py", "Options", ("server",)),
}

Places = dict[str, list[str]]
Hits = typing.Iterator[tuple[str, str]]


def places(role: str, root: pathlib.Path = ROOT) -> Places:
    """Return the places of each variable of ``role``, by the name of the module's option."""
    core, where = root / CORE, ROLES[role]
    utils = core / "plugins" / "module_utils"
    spec = yaml.safe_load((core / "roles" / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    found: Places = {name.removeprefix(f"{role}_"): [] for name in spec["argument_specs"]["main"]["options"]}
    sources = [path for room in where.rooms for path in sorted((utils / room).rglob("*.py"))]
    sources += [core / "plugins" / "modules" / f"{where.module}.py", utils / "stage.py"]
    # Variables that a role has and no module.
    sources += [root / "docs" / "role_files.py"] if role == "llama_server" else []
    named = [
        *_in_role(core / "roles" / role),
        *(hit for path in sources if path.exists() for hit in _in_python(path, where)),
        *_documented(core / "plugins", where),
    ]
    for name, place in named:
        if name.removeprefix(f"{role}_") in found:
            found[name.removeprefix(f"{role}_")].append(place)
    return found


def _in_role(folder: pathlib.Path) -> Hits:
    """Find the variables in the role's files that are not generated."""
    for place in ("defaults/main.yml", "meta/argument_specs.yml", "tasks/main.yml"):
        text = (folder / place).read_text(encoding="utf-8")
        if text.startswith(GENERATED):
            continue
        document = yaml.safe_load(text)
        if place.startswith("tasks"):
            document = next(value for key, value in document[0].items() if key.startswith("llama_fleet.core."))
        elif place.startswith("meta"):
            document = document["argument_specs"]["main"]["options"]
        yield from ((name, place) for name in document)


def _documented(plugins: pathlib.Path, role: Role) -> Hits:
    """Find the options in the documentation of the role's module, and in fragments those that it does not have."""
    text = (plugins / "modules" / f"{role.module}.yml").read_text(encoding="utf-8")
    document = yaml.safe_load(text)["DOCUMENTATION"]
    yield from ((name, "documentation of the module") for name in document["options"])
    for name in document["extends_documentation_fragment"]:
        plugin, _, section = name.removeprefix("llama_fleet.core.").partition(".")
        fragment = importlib.import_module(f"{PLUGINS}.doc_fragments.{plugin}").ModuleDocFragment
        options = yaml.safe_load(getattr(fragment, (section or "documentation").upper()))["options"]
        yield from ((option, f"doc_fragments/{plugin}.py") for option in options if option not in document["options"])


def _in_python(path: pathlib.Path, role: Role) -> Hits:
    """Find the fields of the options' class, the entries of argument specs, and the rows of ranges and flags."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef) and node.name == role.name and path.as_posix().endswith(role.file):
            fields = [field.target for field in node.body if isinstance(field, ast.AnnAssign)]
            yield from ((ast.unparse(field), f"{path.name}: field") for field in fields)
        elif isinstance(node, ast.Dict):
            entries = dict(zip(node.keys, node.values, strict=True))
            named = [key.value for key, value in entries.items() if isinstance(key, ast.Constant) and _has_type(value)]
            yield from ((str(name), f"{path.name}: argument spec") for name in named)
        elif isinstance(node, (ast.Tuple, ast.Call)):
            items = node.elts if isinstance(node, ast.Tuple) else node.args
            if _is_row(items):
                yield str(ast.literal_eval(items[0])), f"{path.name}: row of a table"


def _has_type(value: ast.expr) -> bool:
    return isinstance(value, ast.Dict) and "type" in [key.value for key in value.keys if isinstance(key, ast.Constant)]


def _is_row(items: typing.Sequence[ast.expr]) -> bool:
    """Return whether these are a range (name, value, low, high) or a flag's row (name, "LLAMA_ARG_…", names, …)."""
    if not items or not isinstance(items[0], ast.Constant) or not isinstance(items[0].value, str):
        return False
    texts = [ast.unparse(item) for item in items[1:]]
    is_range = len(texts) == 3 and all(re.fullmatch(r"-?[\d.]+|[A-Z_]+", text) for text in texts[1:])
    return is_range or any(text.startswith(("'LLAMA_ARG_", "'--")) for text in texts)


if __name__ == "__main__":
    clone = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    counted = {f"{role}_{name}": found for role in ROLES for name, found in places(role, clone).items()}
    for variable, found in counted.items():
        print(f"{len(found)} {variable}: {', '.join(found)}")
    print(f"{len(counted)} options, at most {max(map(len, counted.values()))} hand-written places each")
