# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validate the results of modules on hosts before the controller uses them.

A host may have been taken over, so its answer is hostile input. Only the keys that the module documents are passed on,
each with a known type, length and pattern. ansible_facts, add_host and other keys that make Ansible act are dropped.
"""

from __future__ import annotations

import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import line
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import (
    Flag,
    Many,
    Number,
    Real,
    Record,
    Said,
    Shape,
    ShapeError,
    Table,
    Text,
    check,
)
from ansible_collections.llama_fleet.core.plugins.plugin_utils.shown import Shown

Answer = dict[str, typing.Any]

PATH = Text(r"|/[^\\]*")
# A module replaces everything that looks like one of its secrets with '********'.
WORD = Text(r"|[A-Za-z0-9*][A-Za-z0-9._+*-]*", most=200)
URL = Text(r"|https?://[^\s'\"`$;|&<>\\]+", most=2000)
BACKEND = Text(r"cpu|cuda")
# The plan of a packed release knows only the part of the fingerprint that is in its name.
DIGEST = Text(r"|[0-9a-f*]{12,200}")
COUNT = Number(least=-1)
SPEED = Real(least=-1.0)
TEXTS = Many(Said())
PATHS = Many(PATH)
NAMES = Many(Text(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*", most=300))
# Ansible's own keys, for success and failure.
_LONGEST_MESSAGE = 1 << 17
_ANSIBLE: dict[str, Shape] = {
    "changed": Flag(),
    "failed": Flag(),
    "msg": Said(_LONGEST_MESSAGE),
    "diff": Shown(longest=1 << 20),
    "invocation": Shown(),
    "module_stdout": Said(),
    "module_stderr": Said(),
    "rc": Number(least=-255, most=1 << 16),
}
_PROBLEM = Record({}, {name: Said() for name in ("code", "severity", "subject", "found", "wanted", "fix")})
_CHECK = Record(
    {
        "code": Said(200),
        "severity": Text(r"ok|warning|error"),
        "subject": Said(),
        "found": Said(),
        "wanted": Said(),
        "fix": Said(),
    },
)
_STAGE: dict[str, Shape] = {"problems": Many(_PROBLEM, most=1000), "would_change": Flag()}
_GENERATION = Record(
    {
        "number": COUNT,
        "good": Flag(),
        "created": Said(40),
        "build": Said(200),
        "model": Said(),
        "current": Flag(),
        "speed": SPEED,
    },
)
_NUMBERS = (
    "generation",
    "pid",
    "memory_mib",
    "gpu_memory_mib",
    "uptime_seconds",
    "slots",
    "slots_busy",
    "requests_deferred",
    "tokens_predicted",
)
_RECORD = Record({**{name: Said(200) for name in ("build", "nightly", "origin")}, "source": Said(), "why": Said()})
_INSTANCE = Record(
    {
        **{name: Said(200) for name in ("instance", "state", "runtime", "build", "nightly", "origin", "quant")},
        **{name: Said() for name in ("release", "source", "why", "model", "endpoint", "device", "log")},
        **dict.fromkeys(_NUMBERS, COUNT),
        **dict.fromkeys(("tokens_per_second", "prompt_tokens_per_second"), SPEED),
        "good": Flag(),
        "listens_everywhere": Flag(),
        "generations": Many(_GENERATION),
        **dict.fromkeys(("drift", "unknown"), TEXTS),
    },
    {"background": Said()},
)
_DRIVER = Table(Text(r"|[0-9][0-9.]*", most=40), keys=Text(r"[a-z_]+", most=40), most=10)
_RELEASE: dict[str, Shape] = {"path": PATH, "build": WORD, "fingerprint": DIGEST}

# The required and the optional keys of every successful result, by module.
MODULES: dict[str, tuple[dict[str, Shape], dict[str, Shape]]] = {
    "nvidia_driver_info": (
        {
            "backend": BACKEND,
            "driver": _DRIVER,
            "gpus": Many(Shown(), most=1000),
            "cuda_architectures": Many(Text(r"[0-9]{2,3}[af]?(-real|-virtual)?"), most=100),
            "container": Shown(),
        },
        {},
    ),
    "cuda_toolkit": (
        {"path": PATH, "version": Text(r"|[0-9][0-9.]*", most=40)},
        {"nvcc": Said(), "include": PATH, "library": PATH, "origin": WORD, "removed": PATHS},
    ),
    "llama_cpp_release": (
        {
            **_RELEASE,
            **dict.fromkeys(("would_change", "would_compile"), Flag()),
            "fingerprint_parts": Shown(most=2000, deep=4),
            "takes": WORD,
            "taken_from": Text(),
        },
        {
            **dict.fromkeys(("commit", "nightly", "origin"), WORD),
            "archive": Record({}, {"url": URL, "size": Number(most=1 << 50)}),
            "fingerprint_reasons": Shown(most=2000, deep=4),
            "compiled": Flag(),
            "cured": TEXTS,
            "packed": Record({}, {"path": PATH, "sha256": DIGEST, "size": Number(), "signed": Flag()}),
            "removed": PATHS,
            "beside": Record({}, {"build": WORD, "target": WORD, "known": Text(r"|[0-9a-f]{40} [\w.-]+", 300)}),
        },
    ),
    "llama_cpp_native": ({"build": WORD}, {}),
    "llama_cpp_release_info": (
        {
            "releases": Many(Shown()),
            "compiler_cache": Record({"path": PATH, "size": Number()}),
            "sources": Record({"path": PATH, "size": Number()}),
        },
        {},
    ),
    "gguf_info": (
        {"files": Many(Record({"name": Said(), "size": Number()})), "size": Number()},
        {
            **dict.fromkeys(("architecture", "name", "size_label", "quant"), Said(200)),
            **dict.fromkeys(
                ("split_count", "context_trained", "layers", "embedding_length", "parameters", "tensors"), Number()
            ),
            "chat_template": Flag(),
            "memory": Shown(most=2000),
        },
    ),
    "gguf_model": (
        {
            "path": PATH,
            "mmproj": PATH,
            "lora": PATHS,
            "draft": PATH,
            "draft_type": Text(r"[a-z0-9-]*", most=40),
            "files": Many(Record({"path": PATH, "size": Number(), "sha256": DIGEST})),
            "size": Number(),
        },
        {
            "quant": Said(200),
            "revision": Said(200),
            "source": Said(),
            "downloaded": Number(),
            "reused": Many(Record({"path": PATH, "from": PATH, "size": Number()})),
            "removed": PATHS,
            "memory": Shown(most=2000),
            "plan": Shown(),
        },
    ),
    "llama_server": (
        {
            "ready": Flag(),
            "would_change": Flag(),
            "endpoint": URL,
            "instance": Text(r"[a-z0-9*-]+", most=80),
            "generation": COUNT,
        },
        {
            **dict.fromkeys(("state", "runtime"), WORD),
            **dict.fromkeys(("device", "log"), Said()),
            **dict.fromkeys(("pid", "context", "threads", "in_flight", "cut"), COUNT),
            "answer": Said(1 << 16),
            "command": TEXTS,
            **dict.fromkeys(("certificate", "environment_file"), PATH),
            "restarted": Flag(),
            "listens_everywhere": Flag(),
            "memory": Shown(most=2000),
            "speed": SPEED,
            "changed_parts": TEXTS,
        },
    ),
    "llama_server_info": ({"instances": Many(_INSTANCE, most=1000), "errors": TEXTS}, {}),
    "preflight_info": (
        {"checks": Many(_CHECK), "problems": Many(_CHECK), "errors": TEXTS},
        {"releases": Table(_RECORD, keys=Text(r"[a-z0-9-]+", most=80), most=1000)},
    ),
    "llama_gateway": ({"endpoint": URL, "models": NAMES, "servers": NAMES, "process": WORD}, {}),
    "llama_gateway_traffic": ({"way": WORD, "left": COUNT}, {}),
}
# The module of each role.
STAGES = {
    "nvidia_driver": "nvidia_driver_info",
    "cuda_toolkit": "cuda_toolkit",
    "llama_cpp": "llama_cpp_release",
    "gguf_model": "gguf_model",
    "llama_server": "llama_server",
}


def _planned(module: str) -> Shape:
    """Return the shape of a stage in a plan: the result of its module, what a failed one has of it, or nothing."""
    needed, optional = MODULES[module]
    known = {name: _ANSIBLE[name] for name in ("changed", "failed", "msg")} | _STAGE | optional

    def shape(value: object, where: str) -> Answer:
        partial = not value or (isinstance(value, dict) and value.get("failed"))
        return Record({}, {**known, **needed})(value, where) if partial else Record(needed, known)(value, where)

    return shape


_FAILED_PLAN = Record({"msg": _ANSIBLE["msg"], "problems": Many(_PROBLEM, most=1000)})
_PLAN = Record(
    {**{role: _planned(module) for role, module in STAGES.items()}, "is_settled": Flag(), "has_work": Flag()},
    {"failed": _FAILED_PLAN},
)
MODULES["plan_info"] = (
    {"plans": Table(_PLAN, keys=Text(r"[a-z0-9*-]+", most=80), most=1000), "has_several": Flag()},
    {},
)
# Ansible's answer to the start of a module in the background.
_JOB = Record({}, {**_ANSIBLE, "started": Shown(), "results_file": Text(r"/[^\\]+")})


def admit(module: str, answer: typing.Mapping[str, typing.Any], host: str) -> Answer:
    """Return the validated answer of ``module`` on ``host``, or a failure with one problem if it is invalid."""
    needed, optional = MODULES[module]
    known = {**_ANSIBLE, **_STAGE, **optional}
    shape = Record({"failed": Flag()}, {**known, **needed}) if answer.get("failed") else Record(needed, known)
    return _admitted(shape, answer, host, f"an answer of the module {module}")


def admit_job(answer: typing.Mapping[str, typing.Any], host: str) -> Answer:
    """Return the validated answer to the start of a background job, as ``admit`` does."""
    return _admitted(_JOB, answer, host, "the start of a job")


def _admitted(shape: Record, answer: typing.Mapping[str, typing.Any], host: str, wanted: str) -> Answer:
    said = {**answer, **_texts_of_exceptions(answer)}
    warnings = {
        name: [Said()(_text(each), name) for each in _some(said.get(name))]
        for name in ("warnings", "deprecations")
        if said.get(name)
    }
    deprecations = [
        {"msg": text, "version": "", "collection_name": "llama_fleet.core"} for text in warnings.pop("deprecations", [])
    ]
    try:
        admitted = check(said, shape, "its answer")
    except ShapeError as error:
        fix = (
            "do not trust that host: something else than this collection's module answered; look at its Python "
            "before you run anything on it again"
        )
        problem = Problem(f"host {line(host)}", str(error), wanted, fix)
        fields = {"subject": problem.subject, "found": problem.found, "wanted": problem.wanted, "fix": problem.fix}
        return {"failed": True, "msg": str(problem), "problems": [fields]}
    return {**admitted, **warnings, **({"deprecations": deprecations} if deprecations else {})}


def _texts_of_exceptions(answer: typing.Mapping[str, typing.Any]) -> Answer:
    """Return the message of a failure whose only message is its exception, which Ansible would not escape."""
    if not answer.get("failed") or answer.get("msg"):
        return {}
    return {"msg": _text(answer.get("exception")) or "the module failed without a message"}


def _some(value: object, most: int = 100) -> list[typing.Any]:
    return value[:most] if isinstance(value, list) else [value]


def _text(value: object) -> str:
    """Return the text of a warning or an exception, which is a text or an object with an ``event``."""
    event = getattr(value, "event", None)
    message = value if isinstance(value, str) else getattr(event, "msg", "")
    return message if isinstance(message, str) else ""
