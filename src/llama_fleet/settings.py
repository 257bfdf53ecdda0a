# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The roles' variables, as their own argument specs and the plays declare them, and values for them out of text."""

import dataclasses
import difflib
import pathlib
import re
import typing
from collections.abc import Iterable, Iterator, Mapping

import yaml

from llama_fleet.errors import FleetError, UsageError
from llama_fleet.values import KINDS, PARSERS

COLLECTIONS = pathlib.Path(__file__).resolve().parents[2] / "collections"
COLLECTION = COLLECTIONS / "ansible_collections" / "llama_fleet" / "core"

# Names of the environment that are not a role variable's own name in capitals.
ENVIRONMENT_NAMES: Mapping[str, str] = {
    "MODEL": "gguf_model_source",
    "HF_TOKEN": "gguf_model_token",
    "CTX_SIZE": "llama_server_ctx_size",
    "MAX_TOKENS": "llama_server_max_tokens",
    "PORT": "llama_server_port",
    "PARALLEL": "llama_server_parallel",
    "BATCH_SIZE": "llama_server_batch_size",
    "UBATCH_SIZE": "llama_server_ubatch_size",
    "LLAMA_API_KEY": "llama_server_api_key",
}
# Only these are taken for misspelt variables when no role has them: NVIDIA_DRIVER_* and CUDA_* are others' names, too.
OWN_PREFIXES = ("LLAMA_SERVER_", "LLAMA_CPP_", "GGUF_MODEL_")

PLAYBOOKS = ("site", "container", "doctor", "down", "rollback", "status")
# For inventories only: an option or a variable of the environment cannot hold it well.
SEVERAL = "llama_server_instances"

_ROLES = ("ansible.builtin.import_role", "ansible.builtin.include_role")
_TASKS = "ansible.builtin.include_tasks"
# What only plays set, for whichever role.
OF_PLAYS = ("_plan_only", "_overrides")


@dataclasses.dataclass(frozen=True)
class Variable:
    """One variable of a role.

    ``wired`` ones are set by the plays, or make sense in an inventory only: they are no options.
    """

    name: str
    role: str
    kind: str = "str"
    default: object = None
    choices: tuple[str, ...] = ()
    secret: bool = False
    wired: bool = False
    description: str = ""

    @property
    def short_name(self) -> str:
        return self.name.removeprefix(f"{self.role}_")

    @property
    def accepted(self) -> str:
        if not self.choices:
            return KINDS[self.kind]
        return f"{'some' if self.kind == 'list' else 'one'} of {', '.join(filter(None, self.choices))}"

    def parse(self, text: str) -> object:
        """The value that ``text`` stands for; ValueError where it stands for none."""
        value = PARSERS[self.kind](text)
        chosen = value if isinstance(value, list) else [text]
        if self.choices and not set(chosen) <= set(self.choices):
            raise ValueError(text)
        return value


@dataclasses.dataclass(frozen=True)
class Stage:
    """One use of a role in a play, under the play's name for it."""

    role: str
    name: str
    plan: bool = False


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """All that the plays and their roles declare."""

    variables: Mapping[str, Variable]
    # By playbook, in the order of the play.
    stages: Mapping[str, tuple[Stage, ...]]
    # The playbook of each play, by the play's name.
    playbooks: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def roles(self) -> list[str]:
        return _roles(self.stages["site"])

    @property
    def for_users(self) -> list[Variable]:
        return [variable for variable in self.variables.values() if not variable.wired]


def load(collection: pathlib.Path = COLLECTION) -> Catalogue:
    """Read the plays and the specs of the roles they use."""
    try:
        place = collection / "playbooks"
        playbooks = {name: _read(place / f"{name}.yml") for name in PLAYBOOKS}
        tasks = {
            name: [task for play in plays for task in _flat(play["tasks"], place)] for name, plays in playbooks.items()
        }
        parts = [part for name, plays in playbooks.items() for part in [*plays, *tasks[name]]]
        wired = {variable for part in parts for variable in part.get("vars", {})}
        stages = {
            name: tuple(_stage(task, action) for task in found for action in _ROLES if action in task)
            for name, found in tasks.items()
        }
        variables = [variable for role in _roles(stages["site"]) for variable in _variables(collection, role, wired)]
    except OSError as error:
        raise FleetError(f"llama-fleet is incomplete: {error.filename} cannot be read ({error.strerror}).") from error
    names = {play["name"]: playbook for playbook, plays in playbooks.items() for play in plays}
    return Catalogue({variable.name: variable for variable in variables}, stages, names)


def _flat(tasks: Iterable[Mapping[str, typing.Any]], place: pathlib.Path) -> Iterator[Mapping[str, typing.Any]]:
    """The tasks in the order in which they run, those of blocks and of files that are included as well."""
    for task in tasks:
        if _TASKS in task:
            yield from _flat(_read(place / task[_TASKS]), place)
        elif "block" in task:
            yield from _flat(task["block"], place)
        else:
            yield task


def _stage(task: Mapping[str, typing.Any], action: str) -> Stage:
    role = task[action]["name"].rpartition(".")[2]
    return Stage(role, task["name"], plan=task.get("vars", {}).get(f"{role}_plan_only", False))


def _roles(stages: Iterable[Stage]) -> list[str]:
    return [stage.role for stage in stages if not stage.plan]


def _read(path: pathlib.Path) -> typing.Any:
    # The parser in C takes a tenth of the time; not every machine's PyYAML has it.
    return yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _variables(collection: pathlib.Path, role: str, wired: Iterable[str]) -> list[Variable]:
    options = _read(collection / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    return [
        Variable(
            name=name,
            role=role,
            kind=option.get("type", "str"),
            default=option.get("default"),
            choices=tuple(option.get("choices", ())),
            secret=option.get("no_log", False),
            wired=name in wired or name.endswith(OF_PLAYS) or name == SEVERAL,
            description=_plain(_one_text(option["description"])),
        )
        for name, option in options.items()
    ]


def _one_text(description: str | list[str]) -> str:
    return description if isinstance(description, str) else " ".join(description)


def _plain(text: str) -> str:
    """Ansible's markup (``C(x)``, ``O(x)``, ``V(x)``, ``E(x)``, ``M(x)``) as plain text."""
    return re.sub(r"\b[COVEM]\(([^)]*)\)", r"\1", text)


def from_environment(environment: Mapping[str, str], catalogue: Catalogue) -> dict[str, object]:
    """Role variables out of an environment; one UsageError with every unknown name and wrong value."""
    usable = {variable.name.upper(): variable for variable in catalogue.for_users}
    known = {**usable, **{name: catalogue.variables[target] for name, target in ENVIRONMENT_NAMES.items()}}
    values: dict[str, object] = {}
    given_by: dict[str, str] = {}
    problems = []
    for name, text in environment.items():
        if name not in known:
            if name.startswith(OWN_PREFIXES):
                problems.append(
                    f"{name}: expected a role's variable in capitals, found a name that no role has. "
                    f"{_suggestion(name, known)}"
                )
            continue
        variable = known[name]
        if not text:
            continue  # as `-e NAME=` and compose's ${NAME:-} leave it: not given
        try:
            value = variable.parse(text)
        except ValueError:
            found = "a secret of another type" if variable.secret else f"'{text}'"
            problems.append(f"{name}: expected {variable.accepted}, found {found}.")
            continue
        if values.get(variable.name, value) != value:
            problems.append(f"{name}: expected the value of {given_by[variable.name]}, found another one.")
        values[variable.name] = value
        given_by[variable.name] = name
    if problems:
        raise UsageError("\n".join(problems))
    return values


def secrets_from_environment(environment: Mapping[str, str], catalogue: Catalogue) -> dict[str, object]:
    """Only the secrets, which a command line must not carry."""
    secret = {name for name, variable in catalogue.variables.items() if variable.secret}
    names = {name.upper() for name in secret} | {name for name, target in ENVIRONMENT_NAMES.items() if target in secret}
    return from_environment({name: text for name, text in environment.items() if name in names}, catalogue)


def below(prefix: pathlib.Path, catalogue: Catalogue) -> dict[str, object]:
    """Every root of the roles, moved below ``prefix``."""
    return {
        variable.name: f"{prefix}{variable.default}"
        for variable in catalogue.variables.values()
        if variable.kind == "path" and variable.name.endswith("_root")
    }


def _suggestion(name: str, known: Iterable[str]) -> str:
    """Return a sentence with the nearest names.

    Compare what follows the role's name only, because with it all names would be alike.
    """
    prefix = next(prefix for prefix in OWN_PREFIXES if name.startswith(prefix))
    endings = sorted(other.removeprefix(prefix) for other in known if other.startswith(prefix))
    nearest = [
        prefix + ending for ending in difflib.get_close_matches(name.removeprefix(prefix), endings, n=3, cutoff=0.6)
    ]
    return f"Fix: Use {' or '.join(nearest)}." if nearest else "Fix: See the reference for the variables that exist."
