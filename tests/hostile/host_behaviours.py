# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The table of hosts that answer as they like, and the answers of an honest one."""

from __future__ import annotations

import dataclasses
import json
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.options import fingerprint
from ansible_collections.llama_fleet.core.tests.unit.fakes import shared as fake_shared

if typing.TYPE_CHECKING:
    import pathlib


Values = dict[str, typing.Any]
ESCAPES = "\x1b[2J\x1b]0;x\x07\x9b31m\u202e"
JINJA = "{{ lookup('pipe', 'touch CANARY') }}"
# As a host would send a text that Ansible may take for a template, if it could.
TRUSTED = {"__ansible_type": "_AnsibleTaggedStr", "value": JINJA, "tags": [{"__ansible_type": "TrustedAsTemplate"}]}


@dataclasses.dataclass(frozen=True)
class Behaviour:
    """The differences of a host from an honest one, and a part of the sentence expected; empty if it is served as an
    honest one.

    ``says`` replaces answers by module, or by module and kind of call; a text is the whole output. CANARY is the path
    of a file that no code may make. ``parts`` belong to its kind; ``archive`` is sent as its packed release.
    """

    sentence: str = ""
    says: Values = dataclasses.field(default_factory=dict)
    parts: Values = dataclasses.field(default_factory=dict)
    archive: typing.Callable[[pathlib.Path, Values], object] | None = None
    builders: str = "all"
    warns: str = ""
    accepted: bool = False


def pack(path: pathlib.Path, parts: Values, **changes: typing.Any) -> pathlib.Path:
    """Write the archive of a release of these ``parts``."""
    return fake_shared.pack(path, **{"fingerprint_parts": parts, "fingerprint": fingerprint(parts), **changes})


FACTS: Values = {
    "ansible_facts": {
        "llama_cpp_controller_cache": "CANARY",
        "llama_cpp_builders": ["all"],
        "ansible_connection": "local",
    },
    "add_host": {"host_name": "taker", "host_vars": {"ansible_ssh_executable": "CANARY", "llama_cpp_source": "CANARY"}},
    "add_group": "builders",
    "_ansible_notify": ["x"],
    "ansible_stats": {"data": {"x": 1}},
    "fleet": ["invented"],
}
INJECTED = "/x' CANARY.got\n!touch CANARY\n'"
BEHAVIOURS: dict[str, Behaviour] = {
    # What Ansible itself would do something with.
    "sets variables and changes the inventory": Behaviour(
        accepted=True, says=dict.fromkeys(("nvidia_driver_info", "llama_cpp_release", "llama_server"), FACTS)
    ),
    "adds a host": Behaviour(
        accepted=True, says={"nvidia_driver_info": {key: FACTS[key] for key in ("add_host", "ansible_facts")}}
    ),
    # Paths, commands, templates and names.
    "a release's path with a command": Behaviour("path is '/x'", {"llama_cpp_release.plan": {"path": INJECTED}}),
    "a model's path that is none": Behaviour("path is '../../x'", {"gguf_model": {"path": "../../x"}}),
    "an endpoint with a command": Behaviour(
        "endpoint is", {"llama_server": {"endpoint": "http://h:1/'; touch CANARY; '"}}
    ),
    "an instance with a path for a name": Behaviour("instance is '../x'", {"llama_server": {"instance": "../x"}}),
    "a template for a path": Behaviour(
        accepted=True, says={"llama_cpp_release": {"path": f"/opt/{JINJA}"}, "gguf_model": {"path": f"/var/{JINJA}"}}
    ),
    "a template that says it may be trusted": Behaviour(
        "is not JSON deserializable", {"llama_cpp_release": {"path": TRUSTED}}
    ),
    "a backend with a template": Behaviour("backend is", {"nvidia_driver_info": {"backend": JINJA}}),
    "a job's results in a path with a command": Behaviour("results_file is", {"job": {"results_file": INJECTED}}),
    # Shapes.
    "another type for everything": Behaviour(
        "driver is a list", {"nvidia_driver_info": {"driver": [], "gpus": {}, "cuda_architectures": 7}}
    ),
    "nothing that was asked for": Behaviour("has no backend", {"nvidia_driver_info": "{}"}),
    "no JSON": Behaviour("No start of json char found", {"nvidia_driver_info": "hello"}),
    "a very deep answer": Behaviour(
        "levels deep", {"nvidia_driver_info": {"container": json.loads("[" * 200 + "]" * 200)}}
    ),
    "a very long answer": Behaviour("expected that many at most", {"nvidia_driver_info": {"container": [0] * 200_000}}),
    # Terminals.
    "a failure with escape sequences": Behaviour(
        "no \\x1b[2J\\x1b]0;x\\x07", {"nvidia_driver_info": {"failed": True, "msg": f"no {ESCAPES}"}}
    ),
    "progress of another host's name": Behaviour(
        accepted=True, says={"progress": json.dumps({"stage": f"x{ESCAPES}\n[taker] forged", "pid": 1})}
    ),
    # Releases for others.
    "a packed release's path with a command": Behaviour(
        "",
        {"llama_cpp_release.packed": {"packed": {"path": INJECTED, "size": 1 << 20, "signed": False}}},
        warns="packed.path is '/x",
    ),
    "a packed release elsewhere": Behaviour(
        "", {"llama_cpp_release.packed": {"packed": {"path": "/etc/passwd", "size": 1 << 20}}}, accepted=True
    ),
    "another release than planned": Behaviour(
        "",
        {
            "llama_cpp_release.run": fake_shared.result(
                fingerprint_parts={**fake_shared.PARTS, "libc": "glibc 9"}, fingerprint="ab" * 32
            )
        },
        warns="a fingerprint that does not match its parts",
    ),
    "options that nobody asked for": Behaviour(
        "",
        parts={"cmake_options": {**fake_shared.PARTS["cmake_options"], "CMAKE_CXX_FLAGS": "-fplugin=x.so"}},
        warns="cmake_options is not the one",
    ),
    "a source that nobody asked for": Behaviour(
        "", parts={"source": "cd" * 32}, warns="source is not the one that was asked for"
    ),
    "an archive of another release": Behaviour(
        "", archive=lambda path, parts: pack(path, {**parts, "libc": "glibc 9"}), warns="an archive of the release"
    ),
    "an archive that leaves its folder": Behaviour(
        "", archive=lambda path, parts: pack(path, parts, content={"../../CANARY": b"x"}), warns="CANARY"
    ),
    "more bytes than it announced": Behaviour(
        "",
        {"llama_cpp_release.packed": {"packed": {"path": "/x", "size": 10}}},
        warns="is more than the 10 bytes that the host announced",
    ),
    "a builder that nobody has named": Behaviour(builders="!all", parts={"libc": "glibc 3"}),
    # Its plan does not take what it is offered: the controller hands it that release and does not ask it to build.
    "the name of the honest builder's release": Behaviour(
        says={"takes": False},
        parts={"libc": "glibc 1"},
        archive=lambda path, parts: pack(path, parts, content={"bin/llama-server": b"evil"}),
    ),
}
WITHOUT_GPU: Values = {
    "changed": False,
    "backend": "cpu",
    "driver": {},
    "gpus": [],
    "cuda_architectures": [],
    "container": {},
    "problems": [],
}
MODEL: Values = {
    "changed": False,
    "path": "/models/x.gguf",
    "mmproj": "",
    "lora": [],
    "draft": "",
    "draft_type": "",
    "files": [],
    "size": 1,
    "would_change": False,
}


def honest(parts: Values) -> Values:
    """Return the answers of a host that does as it is asked."""
    release = fake_shared.result(
        fingerprint=fingerprint(parts), fingerprint_parts=parts, path="/opt/releases/x", build=parts["build"]
    )
    planned = {**release, "changed": False, "would_change": True, "would_compile": True, "fingerprint": "", "path": ""}
    planned["fingerprint_parts"] = {
        name: value for name, value in parts.items() if name not in ("compiler", "cuda_toolkit")
    }
    packed = {"path": "/x", "sha256": "", "size": 1 << 20, "signed": False}
    server = {"changed": True, "ready": True, "would_change": True, "instance": "default", "generation": 1}
    server["endpoint"] = "http://127.0.0.1:8080"
    return {
        "name": f"{parts['build']}-{fingerprint(parts)[:12]}",
        "takes": True,
        "nvidia_driver_info": dict(WITHOUT_GPU),
        "preflight_info": {"changed": False, "checks": [], "problems": [], "errors": []},
        "gguf_model": dict(MODEL),
        "llama_cpp_release.plan": planned,
        "llama_cpp_release.packed": {**release, "packed": packed},
        "llama_cpp_release.run": release,
        "llama_server.plan": {**server, "ready": False},
        "llama_server.run": server,
    }
