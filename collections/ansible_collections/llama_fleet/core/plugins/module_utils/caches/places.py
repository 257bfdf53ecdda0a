# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""List the folders of this host in which other tools keep models."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import pathlib
import pwd
import re
import typing

# Layouts: the Hub's client, Ollama (and others that name a file by its sum), llama.cpp, LM Studio, RamaLama.
HUB, BLOBS, FLAT, NAMED, RAMALAMA = "hub", "blobs", "flat", "named", "ramalama"

_BY_VARIABLE = (
    ("HF_HUB_CACHE", "", HUB),
    ("HUGGINGFACE_HUB_CACHE", "", HUB),
    ("HF_HOME", "hub", HUB),
    ("XDG_CACHE_HOME", "huggingface/hub", HUB),
    # Newer versions of llama.cpp keep the Hub's layout there, older ones their own.
    ("LLAMA_CACHE", "", HUB),
    ("LLAMA_CACHE", "", FLAT),
    ("XDG_CACHE_HOME", "llama.cpp", FLAT),
    ("OLLAMA_MODELS", "", BLOBS),
)
_IN_HOMES = (
    (".cache/huggingface/hub", HUB),
    (".cache/llama.cpp", FLAT),
    (".ollama/models", BLOBS),
    (".docker/models", BLOBS),
    (".lmstudio/models", NAMED),
    (".cache/lm-studio/models", NAMED),
    (".local/share/ramalama/store", RAMALAMA),
)
_OF_THE_SYSTEM = (
    ("/usr/share/ollama/.ollama/models", BLOBS),
    ("/var/lib/ollama/.ollama/models", BLOBS),
    ("/var/lib/ollama/models", BLOBS),
    ("/var/snap/ollama/common/models", BLOBS),
    ("/var/lib/docker/volumes/ollama/_data/models", BLOBS),
    ("/var/lib/docker/volumes/docker-model-runner-models/_data", BLOBS),
    ("/var/lib/ramalama/store", RAMALAMA),
)
# The variables in which programs that change the user leave the name of the one who logged in.
_CALLERS = ("SUDO_USER", "DOAS_USER")
_UNITS = ("/etc/systemd/system", "/usr/lib/systemd/system")
_SET_BY_UNIT = re.compile(r"^Environment=.*?\bOLLAMA_MODELS=([^\s\"']+)", re.MULTILINE)
_MOST_UNITS = 20
_LONGEST_UNIT = 1 << 16  # bytes


@dataclasses.dataclass(frozen=True)
class Place:
    """A folder in which another tool keeps models in the given layout. It need not exist."""

    folder: str
    layout: str


def places(
    environment: typing.Mapping[str, str],
    homes: typing.Iterable[str] | None = None,
    units: typing.Iterable[str] = _UNITS,
) -> list[Place]:
    """List the existing caches: those named in ``environment``, those in ``homes``, and those of the system.

    By default the homes are those of this user and of the user who called sudo or doas.
    """
    homes = _homes(environment) if homes is None else homes
    named = ((os.path.expanduser(environment.get(name) or ""), below, layout) for name, below, layout in _BY_VARIABLE)
    listed = [
        *((os.path.join(folder, below), layout) for folder, below, layout in named if folder),
        *((os.path.join(home, below), layout) for home in homes for below, layout in _IN_HOMES),
        *((folder, BLOBS) for folder in _of_ollama_s_unit(units)),
        *_OF_THE_SYSTEM,
    ]
    there = (Place(os.path.normpath(folder), layout) for folder, layout in listed if os.path.isabs(folder))
    return [place for place in dict.fromkeys(there) if os.path.isdir(place.folder)]


def _homes(environment: typing.Mapping[str, str]) -> list[str]:
    homes = [environment.get("HOME") or ""]
    with contextlib.suppress(KeyError):  # the user of a container may have no name
        homes.append(pwd.getpwuid(os.geteuid()).pw_dir)
    for name in (environment.get(variable) or "" for variable in _CALLERS):
        with contextlib.suppress(KeyError, ValueError):
            homes.append(pwd.getpwnam(name).pw_dir)
    return [home for home in dict.fromkeys(homes) if os.path.isabs(home) and home != "/"]


def _of_ollama_s_unit(units: typing.Iterable[str]) -> list[str]:
    """Return the folders of models that Ollama's unit and its drop-ins name."""
    folders: list[str] = []
    for unit in (pathlib.Path(place, "ollama.service") for place in units):
        drop_ins = sorted(itertools.islice(unit.with_name("ollama.service.d").glob("*.conf"), _MOST_UNITS))
        for path in (unit, *drop_ins):
            with contextlib.suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
                folders += _SET_BY_UNIT.findall(file.read(_LONGEST_UNIT))
    return folders
