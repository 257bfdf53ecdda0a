# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What a user wants of the model stage, as one checked value."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import VARIABLE as QUANT
from ansible_collections.llama_fleet.core.plugins.module_utils.model import plan as model_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.model import source as model_spec
from ansible_collections.llama_fleet.core.plugins.module_utils.model.hub import endpoint_url, require_token
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any

FIT = "fit"
AUTO = "auto"


@dataclasses.dataclass(frozen=True)
class Memory:
    """What a model has to fit into, and with what. ``mib`` is 0 for what is free on the host."""

    mib: int
    release: str
    ctx_size: int
    parallel: int

    def __str__(self) -> str:
        return f"{self.mib or AUTO} MiB, {self.parallel} x {self.ctx_size} tokens"


@dataclasses.dataclass(frozen=True)
class Request:
    """What is wanted. ``dry`` is set in check mode and for a plan: no model, record or lock may be written then.

    ``asked`` is what a choice is recorded under; ``fit`` is None unless the quant is to be chosen by memory.
    """

    source: model_spec.Source
    asked: str
    revision: str
    endpoint: str
    token: str = dataclasses.field(repr=False)
    index_url: str
    root: pathlib.Path
    absent: bool
    keep: int
    transport: str
    verify: bool
    mirrors: tuple[str, ...]
    offline: bool
    fit: Memory | None
    mmproj: bool
    instances: pathlib.Path
    dry: bool
    caches: bool

    @property
    def wants_all(self) -> bool:
        """Whether nothing narrows the source down."""
        return not self.asked


def request_of(given: typing.Mapping[str, typing.Any], check_mode: bool) -> Request:
    """The request in a module's parameters; raises with every problem that needs no look at the host."""
    raise_if_any([*_mirror_problems(given["mirrors"]), *_number_problems(given)])
    source = model_spec.parse_source(given["source"])
    asked = model_plan.quant_asked(source, given["quant"])
    fit = _memory(source, given) if asked.lower() == FIT else None
    return Request(
        source=source,
        asked=f"{FIT} ({fit})" if fit else asked,
        revision=given["revision"] or "main",
        endpoint=endpoint_url(given["endpoint"]),
        token=require_token(given["token"]),
        index_url=given["index_url"],
        root=pathlib.Path(given["root"]),
        absent=given["state"] == "absent",
        keep=given["keep"],
        transport=given["transport"],
        verify=given["verify"] == "always",
        mirrors=tuple(mirror.rstrip("/") for mirror in given["mirrors"]),
        offline=given["offline"],
        fit=fit,
        mmproj=given["mmproj"],
        instances=pathlib.Path(given["instances"]),
        dry=check_mode or given["plan_only"],
        caches=not check_mode,
    )


def _memory(source: model_spec.Source, given: typing.Mapping[str, typing.Any]) -> Memory:
    if not isinstance(source, (model_spec.HubSource, model_spec.PathSource)):
        wanted = "a quant, or a repository on the Hub or a folder as gguf_model_source"
        raise ProblemError(
            Problem(QUANT, f"'{FIT}' with '{source}', which does not let itself be measured in advance", wanted)
        )
    # Only here: elsewhere they are the instance's, which names them as the user did.
    numbers = ("ctx_size", "parallel")
    raise_if_any(
        Problem(f"gguf_model_{name}", str(given[name]), "a number from 1") for name in numbers if given[name] < 1
    )
    mib = 0 if given["memory"] == AUTO else int(given["memory"])
    return Memory(mib, given["release"] or "", given["ctx_size"], given["parallel"])


def _mirror_problems(mirrors: typing.Iterable[str]) -> typing.Iterator[Problem]:
    for mirror in mirrors:
        try:
            parts = urllib.parse.urlsplit(mirror)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname)
            credentials = bool(parts.username or parts.password)
        except ValueError:
            usable, credentials = False, False
        if credentials:
            fix = "leave them out: a mirror is not trusted and gets no secret"
            yield Problem("gguf_model_mirrors", "a URL with a user name or password in it", "a URL without", fix)
        elif not usable:
            yield Problem(
                "gguf_model_mirrors",
                f"'{mirror}'",
                "the URL of a web server's folder, such as 'http://10.0.0.1:8000/models'",
            )


def _number_problems(given: typing.Mapping[str, typing.Any]) -> typing.Iterator[Problem]:
    if given["keep"] < 0:
        yield Problem("gguf_model_keep", str(given["keep"]), "how many revisions stay, or 0 for all of them")
    if given["memory"] != AUTO and not re.fullmatch(r"[1-9][0-9]{0,8}", given["memory"]):
        yield Problem("gguf_model_memory", f"'{given['memory']}'", "'auto' or a whole number of MiB")
