# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Find options that llama-server would accept and ignore, because another option that they need is missing."""

from __future__ import annotations

import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import declared
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import extra as server_flags
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import router as server_router
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import workers
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.table import CUDA

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.extra import Flags
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

_DRAFT, _TYPE, _DEFAULT = "model-draft", "spec-type", "spec-default"
# Types of speculative decoding that need a draft model. The head of draft-mtp may be part of the model.
_WITH_DRAFT = frozenset({"draft-simple", "draft-eagle3", "draft-dflash", "draft-dspark"})
_OF_DRAFT = r"spec-draft-.+|.+-draft"
_OF_IMAGES = r"mmproj-(device|offload)|(image|video|mtmd)-.+"
_ON_GPU = r"(n-)?cpu-moe|n-cpu-ffn|override-tensor|kv-offload|op-offload|fit|fit-(ctx|target)"
_ON_GPU_TYPED = ("n_gpu_layers", "split_mode", "tensor_split", "main_gpu")


def effect_problems(options: Options, flags: Flags | None) -> list[Problem]:
    """Return a problem for each extra option that has no effect without another one.

    A router is left out, because each of its models has options of its own.
    """
    if flags is None or server_router.is_wanted(options):
        return []
    given = _given(options, flags)
    problems = [*_speculation(options, given, flags)]
    for name in sorted(given):
        needed = _needed(options, name)
        if needed:
            problems.append(_without_effect(name, *needed))
    return problems


def _given(options: Options, flags: Flags) -> dict[str, typing.Any]:
    """Return the extra options that are not switched off, under each long name that the release has for them."""
    named, _problems = server_flags.resolved(options.extra_options, flags)
    given = {}
    for name, value in named.items():
        flag = flags.get(name)
        spellings = [each[2:] for each in flag.names if each.startswith("--")] if flag else [name]
        given.update(dict.fromkeys(spellings, value) if value is not False else {})
    return {name: value for name, value in given.items() if not name.startswith("no-")}


def _speculation(options: Options, given: typing.Mapping[str, typing.Any], flags: Flags) -> typing.Iterator[Problem]:
    """Yield the problems of speculative decoding, which is off unless a type is named."""
    if flags.get(_TYPE) is None:
        return
    named = {word.strip() for word in str(given.get(_TYPE, "")).split(",")} - {"", "none"}
    types = named | ({options.draft_type} if options.draft and options.draft_type else set())
    drafted = bool(options.draft) or _DRAFT in given
    if drafted and not any(kind.startswith("draft-") for kind in types):
        fix = f"set {_TYPE}: draft-simple, or let gguf_model_draft provide the draft model and its type"
        yield _without_effect(_DRAFT, f"a {_TYPE} for draft models", fix)
    lacking = sorted(types & _WITH_DRAFT)
    if lacking and not drafted:
        yield _without_effect(f"{_TYPE}: {lacking[0]}", "a draft model", f"set {_DRAFT}, or gguf_model_draft")
    unused = sorted(name for name in given if _is_unused(name, types, drafted, _DEFAULT in given))
    # One problem for each option, not for each of its names.
    for name in {id(flags.get(name)): name for name in reversed(unused)}.values():
        yield _without_effect(name, f"the {_TYPE} that it is for", "name the type, or leave it out")


def _is_unused(name: str, types: typing.Collection[str], drafted: bool, default: bool) -> bool:
    """Return whether ``name`` sets up a type of speculative decoding that is not in use."""
    if name.startswith("lookup-cache-"):
        return "ngram-cache" not in types
    ngram = re.match(r"spec-(ngram-(?:simple|mod|map-k4v|map-k))-", name)
    if ngram:
        return ngram[1] not in types and not (default and ngram[1] == "ngram-mod")
    return bool(re.fullmatch(_OF_DRAFT, name)) and not drafted and not any(kind.startswith("draft-") for kind in types)


def _needed(options: Options, name: str) -> tuple[str, str] | None:
    """Return what ``name`` needs for an effect and the options lack, and the fix."""
    if re.fullmatch(_OF_IMAGES, name) and not options.mmproj:
        return "a projector", "set gguf_model_mmproj, or leave it out"
    if name in ("pooling", "embd-normalize", "embedding-normalize") and not (options.embeddings or options.rerank):
        return "a server for embeddings", "set llama_server_embeddings: true, or leave it out"
    if name == "cache-idle-slots" and options.cache_ram == 0:
        return "a prompt cache", "set llama_server_cache_ram, or leave it out"
    return None


def _without_effect(name: str, needed: str, fix: str) -> Problem:
    return Problem(server_flags.VARIABLE, f"{name}, which has no effect without {needed}", f"{needed} beside it", fix)


def remarks(options: Options, flags: Flags | None) -> list[str]:
    """Return a warning for each option that has no effect on this host, though it may have one on others."""
    if options.backend == CUDA or workers.named(options):
        return []
    fields = declared(options)
    idle = [f"llama_server_{name}" for name in _ON_GPU_TYPED if getattr(options, name) != fields[name].default]
    given = _given(options, flags) if flags else {}
    idle += sorted(f"{name} in {server_flags.VARIABLE}" for name in given if re.fullmatch(_ON_GPU, name))
    return [f"{name} has no effect, because llama_server_backend is cpu" for name in idle]
