# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Build the results of the model stage, in one shape for a present, a planned and a removed model."""

from __future__ import annotations

import os
import pathlib
import typing

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.plan import ModelPlan
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.request import Request
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.reuse import Gap
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.store import Model

Result = dict[str, typing.Any]
Paths = typing.Iterable[pathlib.Path]


def present(model: Model, downloaded: int = 0, reused: typing.Sequence[Result] = ()) -> Result:
    """Return the result for a model that is on the host. ``reused`` are the files taken from other tools' caches."""
    return {
        "path": str(model.path),
        "files": [
            {"path": str(model.base / file.name), "size": file.size, "sha256": file.sha256} for file in model.everything
        ],
        "mmproj": str(model.base / model.mmproj.name) if model.mmproj else "",
        "size": model.size,
        "quant": model.quant,
        "revision": model.revision,
        "source": model.source,
        "downloaded": downloaded,
        "reused": list(reused),
        "memory": dict(model.memory),
    }


def planned(plan: ModelPlan, missing: Gap, before: Model | None) -> Result:
    """Return the result for a model that is still to be fetched."""
    if plan.archive:  # the checksums of its content are known after the download
        inside = [
            *((file.path, file.size) for file in plan.inside),
            *([(plan.mmproj.name, plan.mmproj.size)] if plan.mmproj else []),
        ]
        files: list[Result] = [{"path": str(plan.folder / name), "size": size, "sha256": ""} for name, size in inside]
    else:
        files = [
            {"path": str(plan.folder / file.name), "size": file.size, "sha256": file.sha256} for file in plan.remote
        ]
    after: dict[str, int] = {file["path"]: file["size"] for file in files} or {
        f"{plan.folder}/the GGUF files of {file.name}": file.size for file in plan.files
    }
    return {
        "changed": bool(missing),
        "path": files[0]["path"] if files else "",
        "files": files,
        "mmproj": str(plan.folder / plan.mmproj.name) if plan.mmproj else "",
        "size": sum(after.values()),
        "quant": plan.quant,
        "revision": plan.revision,
        "source": plan.source,
        "downloaded": 0,
        "reused": [],
        "memory": dict(plan.memory),
        "plan": {
            "folder": str(plan.folder),
            "fetch": [{"name": file.name, "url": file.url, "size": file.size} for file in missing.fetched],
            "link": [{"name": name, "from": str(source)} for name, source in missing.linked.items()],
            "copies": [
                {"name": name, "from": copy.path, "size": copy.size, "disk": 0 if name in missing.free else copy.size}
                for name, copy in missing.copied.items()
            ],
            "size": sum(file.size for file in missing.fetched),
            "waits_for": "",
        },
        "diff": difference(listing(before), after),
    }


def waiting(request: Request) -> Result:
    """Return the result if a choice by memory needs a release that does not exist yet."""
    why = "the release, because its llama-fit-params tells which quant fits into memory"
    return {
        **nothing(request),
        "changed": True,
        "plan": {"folder": "", "fetch": [], "link": [], "copies": [], "size": 0, "waits_for": why},
        "diff": {
            "before": {"files": {}},
            "after": {"files": f"the best quant of {request.source} that fits, chosen once the release exists"},
        },
    }


def nothing(request: Request) -> Result:
    """Return the result for no model."""
    source = getattr(request.source, "repo", "") or str(request.source)
    return {
        "path": "",
        "files": [],
        "mmproj": "",
        "size": 0,
        "quant": "",
        "revision": "",
        "source": source,
        "downloaded": 0,
        "reused": [],
        "memory": {},
    }


def listing(model: Model | None) -> dict[str, int]:
    """Return the sizes in bytes of a model's files, by path."""
    return sizes(model.base / file.name for file in model.everything) if model else {}


def sizes(paths: Paths) -> dict[str, int]:
    return {str(path): os.stat(path).st_size for path in paths if path.is_file()}


def difference(before: typing.Mapping[str, int], after: typing.Mapping[str, int]) -> Result:
    """Return a diff of files and sizes."""
    return {"before": {"files": dict(before)}, "after": {"files": dict(after)}}


def with_removed(result: Result, removed: typing.Sequence[pathlib.Path], gone: typing.Mapping[str, int]) -> Result:
    """Extend ``result`` by the paths ``removed`` and the sizes of their files."""
    before = {**result["diff"]["before"]["files"], **gone}
    return {
        **result,
        "changed": result["changed"] or bool(removed),
        "removed": [str(path) for path in removed],
        "diff": {**result["diff"], "before": {"files": before}},
    }
