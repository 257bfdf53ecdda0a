# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Render a role's defaults, argument spec and task from its module: the declared options and the documentation."""

import dataclasses
import importlib
import pathlib
import re
import typing

import yaml

from ansible_collections.llama_fleet.core.plugins.module_utils import stage
from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import Argument, declared
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda.plan import Wanted
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.options import Options as GatewayOptions
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import Request as ReleaseRequest
from ansible_collections.llama_fleet.core.plugins.module_utils.model.request import Request as ModelRequest
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.requirements import Requirements
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options
from llama_fleet.settings import COLLECTION

Mapping = dict[str, typing.Any]
PLUGINS = "ansible_collections.llama_fleet.core.plugins"
HEADER = "# Made by docs/make_reference.py from the module {module} and its options. Do not edit.\n"
# Options of every stage, beside those that it declares; progress_file is the action plugin's.
OF_STAGES = {name: spec for name, spec in stage.PROGRESS_ARGUMENTS.items() if name != "progress_file"}


@dataclasses.dataclass(frozen=True)
class Role:
    """A role: its module, the class that declares the module's options, and the options shared with other stages.

    ``more`` are variables that the play reads and the module does not have.
    """

    name: str
    module: str
    options: type
    shared: Mapping = dataclasses.field(default_factory=lambda: OF_STAGES)
    more: Mapping = dataclasses.field(default_factory=dict)


INSTANCES = {
    "instances": {
        "description": [
            "Several instances on the host, by name. Each maps variables of any role to the values that differ.",
            "If empty, the host has one instance, O(instance).",
            "The plays run the roles once for each instance. The role itself ignores this variable.",
        ],
        "type": "dict",
        "default": {},
    }
}
_PLAN_ONLY = {"plan_only": stage.PROGRESS_ARGUMENTS["plan_only"]}
HOSTS = {
    "hosts": {
        "description": [
            "Hosts and groups of the inventory whose instances the gateway serves.",
            "If empty, all hosts that are not in the group C(llama_gateways).",
            "Used only if O(servers) is empty.",
        ],
        "type": "list",
        "elements": "str",
        "default": [],
    }
}
ROLES = (
    Role("nvidia_driver", "nvidia_driver_info", Requirements, stage.OVERRIDES),
    Role("cuda_toolkit", "cuda_toolkit", Wanted),
    Role("llama_cpp", "llama_cpp_release", ReleaseRequest),
    Role("gguf_model", "gguf_model", ModelRequest),
    Role("llama_server", "llama_server", Options, more=INSTANCES),
    Role("llama_gateway", "llama_gateway", GatewayOptions, _PLAN_ONLY, more=HOSTS),
)


class _Dumper(yaml.SafeDumper):
    """A YAML dumper that indents lists as yamllint requires."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, indentless=False)


def documentation(module: str) -> Mapping:
    """Return a module's DOCUMENTATION with the options of its fragments."""
    file = COLLECTION / "plugins" / "modules" / f"{module}.yml"
    document = typing.cast("Mapping", yaml.safe_load(file.read_text(encoding="utf-8"))["DOCUMENTATION"])
    for name in document.pop("extends_documentation_fragment"):
        plugin, _, section = name.removeprefix("llama_fleet.core.").partition(".")
        fragment = importlib.import_module(f"{PLUGINS}.doc_fragments.{plugin}").ModuleDocFragment
        shared = yaml.safe_load(getattr(fragment, (section or "documentation").upper()))["options"]
        options = document["options"]
        options.update({option: {**text, **options.get(option, {})} for option, text in shared.items()})
    return document


def variables(role: Role) -> Mapping:
    """Return the role's variables, by the names of the module's options, as its argument spec has them."""
    arguments = {name: argument for name, argument in declared(role.options).items() if not argument.internal}
    specs = {**{name: _spec(argument) for name, argument in arguments.items()}, **role.shared}
    documented = documentation(role.module)["options"]
    fields = {
        name: {"description": option["description"], **specs[name]}
        for name, option in documented.items()
        if name in specs
    }
    if set(fields) != set(specs):
        raise ValueError(f"{role.module} does not document {', '.join(sorted(set(specs) - set(fields)))}")
    first = next(iter(fields))
    return {first: fields.pop(first), **role.more, **fields}


def _spec(argument: Argument) -> Mapping:
    """Return an argument_spec without what a role has no use for, with the role's own default."""
    unwanted = ("required", *(() if argument.spec["no_log"] else ("no_log",)))
    spec = {name: value for name, value in argument.spec.items() if name not in unwanted}
    return {**spec, "default": argument.spec["default"] if argument.in_role is None else argument.in_role}


def render(role: Role) -> dict[pathlib.Path, str]:
    """Return the content of the role's generated files."""
    place, specs, document = COLLECTION / "roles" / role.name, variables(role), documentation(role.module)
    main = {
        "short_description": document["short_description"],
        "description": [*_of_role(document["description"], role), f"The result is in C({role.name}_result)."],
        "author": document["author"],
        "version_added": document["version_added"],
        "options": {f"{role.name}_{name}": _variable(spec, role) for name, spec in specs.items()},
    }
    task = {
        "name": document["short_description"],
        f"llama_fleet.core.{role.module}": {
            name: f"{{{{ {role.name}_{name} }}}}" for name in specs if name not in role.more
        },
        "register": f"{role.name}_result",
    }
    return {
        place / "defaults" / "main.yml": _dump({f"{role.name}_{name}": specs[name]["default"] for name in specs}, role),
        place / "meta" / "argument_specs.yml": _dump({"argument_specs": {"main": main}}, role),
        place / "tasks" / "main.yml": _dump([task], role),
    }


def _variable(spec: Mapping, role: Role) -> Mapping:
    description = spec["description"]
    lines = [description] if isinstance(description, str) else description
    rest = {name: value for name, value in spec.items() if name not in ("description", "default")}
    return {"description": _of_role(lines, role), **rest, "default": spec["default"]}


def _of_role(lines: typing.Iterable[str], role: Role) -> list[str]:
    """Return a module's text with the role's names in the places of the module's."""
    return [_renamed(line, role.name) for line in lines]


def _renamed(line: str, role: str) -> str:
    line = re.sub(r"\bRV\((?:ignore:)?(\w+)\)", rf"C({role}_result.\1)", line)
    return re.sub(r"\bO\((?!ignore:)", f"O({role}_", line)


def _dump(content: typing.Any, role: Role) -> str:
    text = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=150, explicit_start=True)
    return HEADER.format(module=role.module) + text


def render_all() -> dict[pathlib.Path, str]:
    """Return every generated file of the roles with its content."""
    return {path: text for role in ROLES for path, text in render(role).items()}
