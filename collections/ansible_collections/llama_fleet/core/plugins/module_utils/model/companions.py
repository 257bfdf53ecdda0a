# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Provide adapters and a draft model beside a model: each is a request of its own, and the results are merged."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.companion import ANY, VARIABLES
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import ADAPTER, DRAFT
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.kind import speculation
from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import (
    HubSource,
    PathSource,
    Source,
    is_on_hub,
    parse_source,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.request import Request
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.result import Result

# What results say without companions.
NONE: typing.Mapping[str, typing.Any] = {"lora": [], "draft": "", "draft_type": ""}
_SCALE = re.compile(r"(?P<rest>.+):(?P<scale>-?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9}))")
_WANTED = (
    "a label or the path of a file in the model's own repository or folder, 'owner/repo' or 'owner/repo:LABEL' on the "
    "Hub, or the absolute path of a file on the host"
)


@dataclasses.dataclass(frozen=True)
class Companion:
    """A wanted adapter or draft model. ``scale`` is an adapter's, and empty for 1."""

    kind: str
    request: Request
    scale: str = ""


def requested(request: Request) -> list[Companion]:
    """Return the companions that a request wants. Raises ProblemError with every one that cannot be parsed."""
    wanted = [(ADAPTER, given) for given in request.lora] + [(DRAFT, request.draft)] * bool(request.draft)
    parsed = [_companion(request, kind, given.strip()) for kind, given in wanted]
    raise_if_any(each for each in parsed if isinstance(each, Problem))
    return [each for each in parsed if isinstance(each, Companion)]


def _companion(request: Request, kind: str, given: str) -> Companion | Problem:
    match = _SCALE.fullmatch(given) if kind == ADAPTER else None
    text, scale = (match["rest"], match["scale"]) if match else (given, "")
    place = _place(request.source, text)
    if place is None:
        return Problem(VARIABLES[kind], f"'{given}' beside '{request.source}'", _WANTED)
    source, label = place
    revision = source.revision if isinstance(source, HubSource) else ""
    inside = dataclasses.replace(
        request,
        source=dataclasses.replace(source, revision="") if isinstance(source, HubSource) else source,
        revision=revision or (request.revision if source == request.source else "main"),
        label=label,
        asked=f"{kind} {label}",
        kind=kind,
        mmproj="",
        lora=(),
        draft="",
        fit=None,
        keep=0,
    )
    return Companion(kind, inside, scale)


def _place(source: Source, text: str) -> tuple[Source, str] | None:
    """Return the source that a companion comes from, and its label or path there; None if there is no such form."""
    if text.startswith("/"):
        return PathSource(text), ANY
    if is_on_hub(text) or ("/" in text and not text.lower().endswith(".gguf")):
        try:
            other = parse_source(text)
        except ProblemError:
            return None
        if not isinstance(other, HubSource):
            return None
        own = isinstance(source, HubSource) and source.repo == other.repo and not other.revision
        return source if own else dataclasses.replace(other, quant=""), other.quant or ANY
    if text and isinstance(source, HubSource):
        return source, text
    if text and isinstance(source, PathSource):
        path = pathlib.Path(source.path)
        return PathSource(str(path if path.is_dir() else path.parent)), text
    return None


def with_room_for(request: Request, provided: typing.Sequence[Result]) -> Request:
    """Return the request whose choice by memory leaves room for its companions."""
    size = sum(result["size"] for result in provided)
    if request.fit is None or not size:
        return request
    fit = dataclasses.replace(request.fit, beside=size)
    return dataclasses.replace(request, fit=fit, asked=request.asked.replace(str(request.fit), str(fit)))


def merged(model: Result, companions: typing.Sequence[Companion], provided: typing.Sequence[Result]) -> Result:
    """Return the model's result with the files and changes of its companions."""
    results = [model, *provided]
    lora, draft = [], ""
    for each, result in zip(companions, provided):
        if each.kind == DRAFT:
            draft = result["path"]
        else:
            lora.append(f"{result['path']}:{each.scale}" if each.scale else result["path"])
    whole: Result = {
        **model,
        "lora": lora,
        "draft": draft,
        "draft_type": speculation(pathlib.Path(draft)) if draft else "",
        "changed": any(result["changed"] for result in results),
        "files": [file for result in results for file in result["files"]],
        "size": sum(result["size"] for result in results),
        "downloaded": sum(result["downloaded"] for result in results),
        "reused": [file for result in results for file in result["reused"]],
        "removed": [path for result in results for path in result["removed"]],
        "diff": {side: {"files": _files(results, side)} for side in ("before", "after")},
    }
    warnings = [text for result in results for text in result.get("warnings", [])]
    plans = [result["plan"] for result in results if "plan" in result]
    return {**whole, **({"warnings": warnings} if warnings else {}), **({"plan": _plan(plans)} if plans else {})}


def _files(results: typing.Sequence[Result], side: str) -> typing.Any:
    """Return the files of one side of all diffs; a model that is still to be chosen has a sentence there."""
    sides = [result["diff"][side]["files"] for result in results]
    files = {path: size for each in sides if isinstance(each, dict) for path, size in each.items()}
    return next((each for each in sides if not isinstance(each, dict)), files)


def _plan(plans: typing.Sequence[Result]) -> Result:
    return {
        **plans[0],
        "fetch": [file for plan in plans for file in plan["fetch"]],
        "link": [file for plan in plans for file in plan["link"]],
        "copies": [file for plan in plans for file in plan["copies"]],
        "size": sum(plan["size"] for plan in plans),
    }
