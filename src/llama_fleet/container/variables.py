# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Translate a container's environment into role variables, reading secrets from files, and report every mistake."""

import hashlib
import json
import pathlib
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.versions import CHANNELS
from llama_fleet import settings
from llama_fleet.container import habits, record
from llama_fleet.errors import UsageError

# The volume with the models; volumes.join links it into the other one.
MODELS = "/models"
SOURCE, VERSION, UPDATE = "llama_cpp_source", "llama_cpp_version", "llama_cpp_update"
MODEL, MODEL_ROOT = "gguf_model_source", "gguf_model_root"
EXTRA = "llama_server_extra_options"
NEWEST = "git+https://github.com/ggml-org/llama.cpp"
# Defaults that differ from a host's; users may override them. Publishing the port decides who reaches it.
CONTAINER: Mapping[str, object] = {
    "llama_server_host": "0.0.0.0",
    "llama_server_allow_unauthenticated": True,
    SOURCE: NEWEST,
}
# Variables that identify a model.
_OF_THE_MODEL = (MODEL, "gguf_model_quant", "gguf_model_revision", "gguf_model_mmproj")
_NO_MODEL = (
    "MODEL: expected owner/repo, owner/repo:QUANT, a URL, a wheel or a path, found nothing. "
    "Fix: Run the image with '-e MODEL=owner/repo'."
)

Values = dict[str, object]


def of(
    environment: Mapping[str, str], catalogue: settings.Catalogue, warn: Callable[[str], None] = lambda _text: None
) -> Values:
    """Return the role variables for an environment. Raises UsageError with every mistake."""
    problems: list[str] = []
    plain = _with_secrets(_without_links(environment, warn), catalogue, problems)
    given: Values = {}
    try:
        given = settings.from_environment(plain, catalogue)
    except UsageError as error:
        problems.append(str(error))
    problems += habits.refused(plain)
    arguments = options_of(json.loads(plain.get(record.ARGUMENTS) or "[]"), problems)
    taken = habits.taken(arguments, catalogue, problems)
    problems += [
        f"{name.upper()}: expected the value among the container's arguments, found another one. Fix: Remove one."
        for name, value in taken.items()
        if given.get(name, value) != value
    ]
    extra = _extra_options(plain, given.pop(EXTRA, {}), arguments)
    named = [name for name, variable in settings.ENVIRONMENT_NAMES.items() if variable == MODEL]
    if not any(plain.get(name) for name in (*named, MODEL.upper())) and MODEL not in taken:
        problems.append(_NO_MODEL)
    if problems:
        raise UsageError("\n".join(problems))
    roots = {**settings.below(pathlib.Path(record.STATE), catalogue), MODEL_ROOT: record.STATE}
    return {**roots, **CONTAINER, **given, **taken, **extra, "llama_server_runtime": "exec"}


def _extra_options(environment: Mapping[str, str], given: object, arguments: Values) -> Values:
    """Return the options for llama-server that are no role variables; the role checks them before it switches."""
    upstream = {name: text for name, text in environment.items() if name.startswith(record.UPSTREAM_PREFIX) and text}
    extra = {**dict(typing.cast("Mapping[str, object]", given)), **upstream, **arguments}
    return {EXTRA: extra} if extra else {}


def options_of(words: Iterable[str], problems: list[str]) -> Values:
    """Parse llama-server's arguments into options: True without a value, a text for one, a list for several."""
    options: dict[str, list[str]] = {}
    values: list[str] | None = None
    for word in words:
        if re.match(r"-{1,2}[A-Za-z]", word):
            name, mark, value = word.partition("=")
            if name in options:
                problems.append(f"{name}: expected each option once, found it twice among the container's arguments.")
            values = options[name] = [value] if mark else []
        elif values is None:
            problems.append(
                f"'{word}': expected llama-server's options, such as --top-k 20, found it before any option among the "
                f"container's arguments."
            )
        else:
            values.append(word)
    return {name: True if not values else values[0] if len(values) == 1 else values for name, values in options.items()}


def _without_links(environment: Mapping[str, str], warn: Callable[[str], None]) -> dict[str, str]:
    links = record.service_links(environment)
    ours = [name for name in links if name.startswith(settings.OWN_PREFIXES)]
    if ours:
        others = f" and {len(ours) - 1} more" if len(ours) > 1 else ""
        warn(
            f"{ours[0]}{others}: ignored, because Kubernetes sets them for a Service of that name. "
            "Fix: Set 'enableServiceLinks: false' in the pod, or rename the Service."
        )
    return {name: text for name, text in environment.items() if name not in links}


def secret_names(catalogue: settings.Catalogue) -> list[str]:
    """Return the names of all environment variables that contain secrets."""
    secret = {name for name, variable in catalogue.variables.items() if variable.secret}
    return sorted(
        {
            *(name.upper() for name in secret),
            *(name for name, target in settings.ENVIRONMENT_NAMES.items() if target in secret),
        }
    )


def names(catalogue: settings.Catalogue) -> list[str]:
    """Return the names of all environment variables that are read."""
    return sorted(
        {
            *(name.upper() for name in catalogue.variables),
            *settings.ENVIRONMENT_NAMES,
            *habits.OTHERS,
            *(f"{name}_FILE" for name in secret_names(catalogue)),
        }
    )


def _with_secrets(environment: Mapping[str, str], catalogue: settings.Catalogue, problems: list[str]) -> dict[str, str]:
    """Return the environment with each ``NAME_FILE`` replaced by ``NAME`` and the file's content."""
    plain = dict(environment)
    for name in secret_names(catalogue):
        file = plain.pop(f"{name}_FILE", "")
        if not file:
            continue
        if plain.get(name):
            problems.append(f"{name}_FILE: expected one of {name} and {name}_FILE, found both.")
            continue
        variable = catalogue.variables[settings.ENVIRONMENT_NAMES.get(name, name.lower())]
        try:
            text = pathlib.Path(file).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            problems.append(
                f"{name}_FILE: expected a file that holds the secret, found {file}, which cannot be read ({reason})."
            )
            continue
        if not text:
            problems.append(f"{name}_FILE: expected a file that holds the secret, found {file}, which is empty.")
            continue
        plain[name] = ",".join(_lines(text)) if variable.kind == "list" else text
    return plain


def _lines(text: str) -> Iterator[str]:
    return (line.strip() for line in text.splitlines() if line.strip())


def model_key(values: Mapping[str, object]) -> str:
    """Return a key of 16 hexadecimal digits that identifies the requested model."""
    return hashlib.sha256(json.dumps([values.get(name, "") for name in _OF_THE_MODEL]).encode()).hexdigest()[:16]


def moving(values: Mapping[str, object]) -> str:
    """Return the URL of the repository whose newest build is requested; empty for a fixed build."""
    source = str(values[SOURCE])
    return (
        source.removeprefix("git+") if source.startswith("git+") and values.get(VERSION, "") in ("", *CHANNELS) else ""
    )


def pinned(values: Mapping[str, object], catalogue: settings.Catalogue) -> Values:
    """Return ``values`` with the role's default build; empty if the user requests another build."""
    if values[SOURCE] != NEWEST or values.get(VERSION):
        return {}
    return {**values, SOURCE: catalogue.variables[SOURCE].default}
