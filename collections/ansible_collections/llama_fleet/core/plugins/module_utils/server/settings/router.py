# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Settings of a router: a server without a model of its own that starts another one for each model asked for."""

from __future__ import annotations

import os
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

MODE = "router"
# The options that name its models: a folder of them, and a file about them.
_PLACES = {"models-dir": os.path.isdir, "models-preset": os.path.isfile}
_OWN = {"LLAMA_ARG_SSL_CERT_FILE": "--ssl-cert-file", "LLAMA_ARG_SSL_KEY_FILE": "--ssl-key-file"}
_EXTRA, _MODEL = "llama_server_extra_options", "llama_server_model"


def places(options: Options) -> dict[str, str]:
    """Where the models are, by the option that says so."""
    named = {str(name).lstrip("-").replace("_", "-"): str(value) for name, value in options.extra_options.items()}
    return {name: named[name] for name in _PLACES if name in named}


def is_wanted(options: Options) -> bool:
    """Whether a server without a model is meant: somebody named it, and its models."""
    return not options.model and MODE in options.allow and bool(places(options))


def variables(options: Options) -> dict[str, str]:
    """It wants a folder of what it fetched itself, and would serve what is in there as well."""
    return {"LLAMA_CACHE": "/nonexistent"} if is_wanted(options) else {}


def problems(options: Options, may_be_missing: bool) -> list[Problem]:
    """What is wrong with the places of its models, or with a model beside them: that one would be served, and none
    of theirs.
    """
    found = places(options)
    if options.model and found:
        return [
            Problem(
                _EXTRA,
                f"{' and '.join(found)} beside {_MODEL}",
                "one of the two",
                "leave the model empty to serve any of many",
            )
        ]
    missing = [] if may_be_missing else [name for name, path in found.items() if not _PLACES[name](path)]
    wrong = [Problem(_EXTRA, f"no {found[name]} for {name}", "a place of models") for name in missing]
    kinds = [name for name in ("embeddings", "rerank") if found and getattr(options, name)]
    return wrong + [
        Problem(
            f"llama_server_{name}",
            "true for a router",
            "false, for its models differ",
            "say it of each in what models-preset names",
        )
        for name in kinds
    ]


def kept(options: Options, environment: dict[str, str], words: list[str]) -> tuple[dict[str, str], list[str]]:
    """A router's environment and command line: the servers that it starts inherit the one, and it speaks plain HTTP
    to them.
    """
    if not is_wanted(options):
        return environment, words
    own = [word for name, flag in _OWN.items() if name in environment for word in (flag, environment[name])]
    return {name: value for name, value in environment.items() if name not in _OWN}, [*words, *own]


def no_model(options: Options) -> Problem:
    """What is said where there is no model, with the other way for those who meant that one."""
    if MODE in options.allow:
        return Problem(
            _MODEL,
            "nothing, with router in llama_server_allow",
            "models to route to",
            f"name their folder as models-dir in {_EXTRA}",
        )
    return Problem(_MODEL, "nothing", "the path of a GGUF file", "use gguf_model_result.path")
