# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Read the roles' variables from their argument specs and the plays, and their values from an environment."""

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

# Environment variables whose name is not that of a role variable in capitals.
ENVIRONMENT_NAMES: Mapping[str, str] = {
    "MODEL": "gguf_model_source",
    "HF_TOKEN": "gguf_model_token",
    "CTX_SIZE": "llama_server_ctx_size",
    "MAX_TOKENS": "llama_server_max_tokens",
    "PORT": "llama_server_port",
    "THREADS": "llama_server_threads",
    "N_GPU_LAYERS": "llama_server_n_gpu_layers",
    "PARALLEL": "llama_server_parallel",
    "BATCH_SIZE": "llama_server_batch_size",
    "UBATCH_SIZE": "llama_server_ubatch_size",
    "LLAMA_API_KEY": "llama_server_api_key",
}
# Only unknown names with these prefixes count as misspelt: other programs use NVIDIA_DRIVER_* and CUDA_* as well.
OWN_PREFIXES = ("LLAMA_SERVER_", "LLAMA_CPP_", "GGUF_MODEL_")

PLAYBOOKS = ("site", "container", "doctor", "down", "rollback", "status")
# For inventories only, because it is a nested mapping.
SEVERAL = "llama_server_instances"

_ROLES = ("ansible.builtin.import_role", "ansible.builtin.include_role")
# The variable of the task that plans all stages, with the name of each by its role. The first one has no plan.
_PLANNED, LOOKS = "llama_fleet_stages", "nvidia_driver"
# The variable of a task that only begins its stage.
_BEGINS = "llama_fleet_begins"
_TASKS = "ansible.builtin.include_tasks"
# Suffixes of variables that only plays set, for any role.
OF_PLAYS = ("_plan_only", "_overrides")


@dataclasses.dataclass(frozen=True)
class Variable:
    """A variable of a role.

    A ``wired`` variable is set by the plays, or makes sense in an inventory only; it has no option.
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
        """The name without the role's prefix."""
        return self.name.removeprefix(f"{self.role}_")

    @property
    def accepted(self) -> str:
        """A phrase for the accepted values, for error messages."""
        if not self.choices:
            return KINDS[self.kind]
        return f"{'some' if self.kind == 'list' else 'one'} of {', '.join(filter(None, self.choices))}"

    def parse(self, text: str) -> object:
        """Return the value of ``text``. Raises ValueError."""
        value = PARSERS[self.kind](text)
        chosen = value if isinstance(value, list) else [text]
        if self.choices and not set(chosen) <= set(self.choices):
            raise ValueError(text)
        return value


@dataclasses.dataclass(frozen=True)
class Stage:
    """A use of a role in a play, with the name of its task."""

    role: str
    name: str
    plan: bool = False


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """The variables and stages that the plays and their roles declare."""

    variables: Mapping[str, Variable]
    # By playbook, in the order of the play.
    stages: Mapping[str, tuple[Stage, ...]]
    # The playbook of each play, by the play's name.
    playbooks: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def roles(self) -> list[str]:
        """The roles that ``site`` runs, in order."""
        return _roles(self.stages["site"])

    @property
    def for_users(self) -> list[Variable]:
        """The variables that a user may set by an option."""
        return [variable for variable in self.variables.values() if not variable.wired]


def load(collection: pathlib.Path = COLLECTION) -> Catalogue:
    """Read the plays and the specs of their roles. Raises FleetError if a file is missing."""
    try:
        place = collection / "playbooks"
        playbooks = {name: _read(place / f"{name}.yml") for name in PLAYBOOKS}
        tasks = {
            name: [task for play in plays for task in _flat(play["tasks"], place)] for name, plays in playbooks.items()
        }
        parts = [part for name, plays in playbooks.items() for part in [*plays, *tasks[name]]]
        wired = {variable for part in parts for variable in part.get("vars", {})}
        wired.update(
            variable for part in parts for file in part.get("vars_files", ()) for variable in _read(place / file)
        )
        stages = {name: tuple(stage for task in entries for stage in _stages(task)) for name, entries in tasks.items()}
        variables = [variable for role in _roles(stages["site"]) for variable in _variables(collection, role, wired)]
    except OSError as error:
        raise FleetError(f"llama-fleet is incomplete: {error.filename} cannot be read ({error.strerror}).") from error
    names = {play["name"]: playbook for playbook, plays in playbooks.items() for play in plays}
    return Catalogue({variable.name: variable for variable in variables}, stages, names)


def _flat(tasks: Iterable[Mapping[str, typing.Any]], place: pathlib.Path) -> Iterator[Mapping[str, typing.Any]]:
    """Yield the tasks in the order in which they run, including those of blocks and of included files."""
    for task in tasks:
        if _TASKS in task:
            yield from _flat(_read(place / task[_TASKS]), place)
        elif "block" in task:
            yield from _flat(task["block"], place)
        else:
            yield task


def _stages(task: Mapping[str, typing.Any]) -> Iterator[Stage]:
    """Yield the stage of a task that runs a role, or those of the task that plans all of them."""
    given = task.get("vars", {})
    if _BEGINS in given:  # another task waits for it
        return
    for role, name in given.get(_PLANNED, {}).items():
        yield Stage(role, name, plan=role != LOOKS)
    for action in _ROLES:
        if action in task:
            role = task[action]["name"].rpartition(".")[2]
            yield Stage(role, task["name"], plan=given.get(f"{role}_plan_only", False))


def _roles(stages: Iterable[Stage]) -> list[str]:
    return [stage.role for stage in stages if not stage.plan]


def _read(path: pathlib.Path) -> typing.Any:
    # The C parser takes a tenth of the time, but not every PyYAML has it.
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
    """Remove Ansible's markup: ``C(x)``, ``O(x)``, ``V(x)``, ``E(x)`` and ``M(x)`` become ``x``."""
    return re.sub(r"\b[COVEM]\(([^)]*)\)", r"\1", text)


def from_environment(environment: Mapping[str, str], catalogue: Catalogue) -> dict[str, object]:
    """Return the role variables in an environment.

    Raises UsageError with every unknown name and wrong value.
    """
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
            continue  # `-e NAME=` and compose's ${NAME:-} leave it empty: not set
        try:
            value = variable.parse(text)
        except ValueError:
            given = "a secret of another type" if variable.secret else f"'{text}'"
            problems.append(f"{name}: expected {variable.accepted}, found {given}.")
            continue
        if values.get(variable.name, value) != value:
            problems.append(f"{name}: expected the value of {given_by[variable.name]}, found another one.")
        values[variable.name] = value
        given_by[variable.name] = name
    if problems:
        raise UsageError("\n".join(problems))
    return values


def secrets_from_environment(environment: Mapping[str, str], catalogue: Catalogue) -> dict[str, object]:
    """Return the secrets in an environment, because a command line must not carry them."""
    secret = {name for name, variable in catalogue.variables.items() if variable.secret}
    names = {name.upper() for name in secret} | {name for name, target in ENVIRONMENT_NAMES.items() if target in secret}
    return from_environment({name: text for name, text in environment.items() if name in names}, catalogue)


def below(prefix: pathlib.Path, catalogue: Catalogue) -> dict[str, object]:
    """Return each root folder of the roles, moved below ``prefix``."""
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
