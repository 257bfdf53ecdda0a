# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Configure a router: a server without a model that starts another server for each model it is asked for."""

from __future__ import annotations

import configparser
import os
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.release.flags import Flag, Flags
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

MODE = "router"
# The options that name its models: a folder of models, and a file that describes them.
_PLACES = {"models-dir": os.path.isdir, "models-preset": os.path.isfile}
_OWN = {"LLAMA_ARG_SSL_CERT_FILE": "--ssl-cert-file", "LLAMA_ARG_SSL_KEY_FILE": "--ssl-key-file"}
_EXTRA, _MODEL = "llama_server_extra_options", "llama_server_model"
# Bytes of a file of models that are read at most.
_LARGEST = 1 << 20


def places(options: Options) -> dict[str, str]:
    """Return the locations of the models by the options that name them."""
    named = {str(name).lstrip("-").replace("_", "-"): str(value) for name, value in options.extra_options.items()}
    return {name: named[name] for name in _PLACES if name in named}


def is_wanted(options: Options) -> bool:
    """Return whether a router is requested: without a model, allowed by name, and with models."""
    return not options.model and MODE in options.allow and bool(places(options))


def variables(options: Options) -> dict[str, str]:
    """Return the router's environment: no download cache, because the router also serves what is in there."""
    return {"LLAMA_CACHE": "/nonexistent"} if is_wanted(options) else {}


def router_problems(options: Options, may_be_missing: bool) -> list[Problem]:
    """Return the problems of a router's options, such as a model, which would be served instead of the others."""
    named = places(options)
    if options.model and named:
        both = f"{' and '.join(named)} beside {_MODEL}"
        return [Problem(_EXTRA, both, "one of the two", "leave the model empty to serve any of many")]
    missing = [] if may_be_missing else [name for name, path in named.items() if not _PLACES[name](path)]
    wrong = [Problem(_EXTRA, f"no {named[name]} for {name}", "a place of models") for name in missing]
    kinds = [name for name in ("embeddings", "rerank") if named and getattr(options, name)]
    wanted, fix = "false, because its models differ", "set it for each model in the file of models-preset"
    return wrong + [Problem(f"llama_server_{name}", "true for a router", wanted, fix) for name in kinds]


def kept(options: Options, environment: dict[str, str], words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Move the certificate from a router's environment, which its servers inherit, to its own command line.

    The router speaks plain HTTP to these servers.
    """
    if not is_wanted(options):
        return environment, words
    own = [word for name, flag in _OWN.items() if name in environment for word in (flag, environment[name])]
    return {name: value for name, value in environment.items() if name not in _OWN}, [*words, *own]


def conflicts(options: Options, words: typing.Sequence[str], flags: Flags | None) -> list[Problem]:
    """Return a problem for each option of a model that the same option on the router's command line would override.

    An option in the router's environment is a default, which a model's own section overrides.
    """
    path = places(options).get("models-preset", "")
    if flags is None or not is_wanted(options) or not os.path.isfile(path):
        return []
    known = {word: flags.by_name[word] for word in words if word in flags.by_name}
    problems = []
    for model, keys in _sections(path).items():
        own = [_flag(key, flags) for key in keys]
        for word in (word for word, flag in known.items() if flag in own):
            twice = f"{word[2:]}, which would override that of {model} in {path}"
            fix = f"leave it out here, or in {path}: what its section [*] says is for every model"
            problems.append(Problem(_EXTRA, twice, "each option in one of the two", fix))
    return problems


def _flag(key: str, flags: Flags) -> Flag | None:
    """Return the flag of a key in the file of models, which may be a long or a short name, or a variable."""
    name = key.strip().lstrip("-")
    flag = flags.by_name.get(f"--{name}") or flags.by_name.get(f"-{name}")
    return flag or next((flag for flag in flags.by_name.values() if flag.environment == name), None)


def _sections(path: str) -> dict[str, list[str]]:
    """Return the keys of each section; none if the file is not readable, which the server itself reports."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), default_section="")
    # Keep the case of names.
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # because configparser is to be told so
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            # Keys such as the version stand before the first section.
            parser.read_string(f"[ ]\n{file.read(_LARGEST)}")
    except (OSError, configparser.Error):
        return {}
    return {name: parser.options(name) for name in parser.sections() if name.strip()}


def no_model(options: Options) -> Problem:
    """Return the problem of a missing model, with the fix for a router if one is allowed."""
    if MODE in options.allow:
        nothing, fix = "nothing, with router in llama_server_allow", f"name their folder as models-dir in {_EXTRA}"
        return Problem(_MODEL, nothing, "models to route to", fix)
    return Problem(_MODEL, "nothing", "the path of a GGUF file", "use gguf_model_result.path")
