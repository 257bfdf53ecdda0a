# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Record the last start of a container, and compare the container with it at a restart.

This module and its imports stay small, because their import time delays every restart.
"""

import contextlib
import hashlib
import json
import os
import re
import typing
from collections.abc import Iterable, Mapping

from llama_fleet import __version__

# The volume with everything but the models.
STATE = "/var/lib/llama-fleet"
# File with the unique image ID, one line.
IMAGE_ID = "/usr/lib/llama-fleet/image-id"
# Variables that llama-fleet, the servers or their GPU libraries read. Others may differ at every start.
PREFIXES = ("LLAMA_", "GGUF_MODEL_", "GGML_", "CUDA_", "NVIDIA_", "HF_")
UPSTREAM_PREFIX = "LLAMA_ARG_"
# Holds the container's arguments as a JSON list, so that they count as settings.
ARGUMENTS = "LLAMA_FLEET_ARGUMENTS"
# Log format; not a setting of the server.
LOG_VARIABLE = "LLAMA_FLEET_LOG"

_FORMAT = 1
# Types of the values that a restart uses. Checked here, because the parser for untrusted JSON is slow to import and
# this file belongs to this user.
_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("desired", "generation", "update", "warning", "summary"), str),
    **dict.fromkeys(("names", "withheld"), list),
    **dict.fromkeys(("files", "links", "listings"), dict),
    "retry_after": (int, float),
}
_SECRET_LIMIT = 1 << 20
_CPU = ("model name", "flags", "Features", "CPU implementer", "CPU variant", "CPU part")
_LIMITS = ("cpu.max", "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us", "memory.max", "memory/memory.limit_in_bytes")
# Kubernetes sets these for a Service whose name starts like our variables, for example llama-server.
_LINK = re.compile(
    r"[A-Z0-9_]+_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://")

Record = dict[str, typing.Any]


def service_links(environment: Mapping[str, str]) -> list[str]:
    """Return the names of variables with our prefixes that Kubernetes set, not the user."""
    ours = [name for name in environment if name.startswith(PREFIXES)]
    return sorted(
        name
        for name in ours
        if _LINK.fullmatch(name) or (name.endswith("_PORT") and _LINK_VALUE.match(environment[name]))
    )


def desired(environment: Mapping[str, str], names: Iterable[str]) -> str:
    """Return a digest of everything that the start depends on.

    That is the variables ``names`` and those with our prefixes, secret files, image and machine.
    """
    known = set(names)
    links = service_links(environment)
    relevant = {
        name: text
        for name, text in environment.items()
        if (name in known or name.startswith(PREFIXES)) and name not in links and name != LOG_VARIABLE and text
    }
    files = {name: _digest(text) for name, text in relevant.items() if name.endswith("_FILE")}
    return hashlib.sha256(json.dumps([relevant, files, image(), machine()], sort_keys=True).encode()).hexdigest()


def _digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read(_SECRET_LIMIT)).hexdigest()
    except OSError as error:
        return str(error.errno)


def image() -> str:
    """Return the image's ID, or a digest of our files if the image has none."""
    image_id = _read(IMAGE_ID)
    if image_id:
        return image_id
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    collection = os.path.join(os.path.dirname(os.path.dirname(ours)), "collections")
    # Python may write to __pycache__ at any time.
    folders = (
        (folder, names)
        for top in (ours, collection)
        for folder, _folders, names in os.walk(top)
        if not folder.endswith("__pycache__")
    )
    prints = [print_of(os.path.join(folder, name)) for folder, names in folders for name in names]
    return f"{__version__} {hashlib.sha256(json.dumps(sorted(filter(None, prints))).encode()).hexdigest()}"


def machine() -> list[str]:
    """Return the CPU, GPUs, driver and cgroup limits on which the choice of a server depends."""
    cpu = [line for line in _read("/proc/cpuinfo", 1 << 14).partition("\n\n")[0].splitlines() if line.startswith(_CPU)]
    limits = [_read(f"/sys/fs/cgroup/{name}") for name in _LIMITS]
    gpus = [name for name in _names("/dev") if name == "dxg" or (name.startswith("nvidia") and name[6:].isdigit())]
    return [
        os.uname().machine,
        *cpu,
        str(len(os.sched_getaffinity(0))),
        *limits,
        *gpus,
        _read("/proc/driver/nvidia/version").partition("\n")[0],
    ]


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _read(path: str, limit: int = 4096) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(limit).decode("utf-8", "replace").strip()
    except OSError:
        return ""


# -- the record ---------------------------------------------------------------------------------------


def path() -> str:
    """Return the path of the record."""
    return os.path.join(STATE, "converged.json")


def read() -> Record:
    """Return the record; empty if it is missing or invalid."""
    record = read_object(path())
    if not all(isinstance(record.get(name), kind) for name, kind in _KINDS.items()):
        return {}
    return record if all(isinstance(name, str) for name in (*record["names"], *record["withheld"])) else {}


def read_object(name: str) -> Record:
    """Return what ``write`` wrote; empty if the file is missing, invalid or of another format version."""
    try:
        with open(name, encoding="utf-8") as file:
            record = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) and record.get("format") == _FORMAT else {}


def write(record: Record, target: str = "") -> None:
    """Replace the record, or the file ``target``, atomically, readable by this user only. Raises OSError."""
    target = target or path()
    temporary = f"{target}.{os.urandom(8).hex()}.new"  # another user cannot have created this name
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump({"format": _FORMAT, **record}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def print_of(name: str) -> list[int]:
    """Return size in bytes and mtime in nanoseconds of a file; empty if it does not exist."""
    try:
        status = os.stat(name)
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


def link_of(name: str) -> str:
    """Return the target of a symbolic link; empty if there is none."""
    try:
        return os.readlink(name)
    except OSError:
        return ""


def listing(folder: str) -> list[str]:
    """Return the names in a folder, except hidden ones, which are incomplete."""
    return [name for name in _names(folder) if not name.startswith(".")]


def difference(record: Record, environment: Mapping[str, str], now: float) -> str:
    """Return why the container does not match the record; empty if it does. ``now`` is in seconds since 1970."""
    if not record.get("desired"):
        return "no earlier start is recorded"
    try:
        return _difference(record, environment, now)
    except ValueError:  # an invalid file name
        return "the record of the last start is invalid"


def _difference(record: Record, environment: Mapping[str, str], now: float) -> str:
    if record["desired"] != desired(environment, record["names"]):
        return "the settings, the image or the machine have changed since the last start"
    if record["retry_after"] and now >= record["retry_after"]:
        return "a step that failed at an earlier start is tried again"
    changed = [name for name, known in record["files"].items() if print_of(name) != known]
    changed += [name for name, target in record["links"].items() if link_of(name) != target]
    if changed:
        return f"{changed[0]} has changed since the last start"
    if any(listing(folder) != names for folder, names in record["listings"].items()):
        return "there is a new release"
    return ""


# -- what is executed ---------------------------------------------------------------------------------


def server(
    record: Record, environment: Mapping[str, str], arguments: Iterable[str]
) -> tuple[list[str], dict[str, str]]:
    """Return command and environment of the recorded generation, followed by ``arguments`` that only print something.

    The user's flags and LLAMA_ARG_* are part of the generation, which passed its checks. Secrets of the roles are left
    out. Raises OSError or ValueError.
    """
    with open(os.path.join(record["generation"], "manifest.json"), encoding="utf-8") as file:
        manifest = json.load(file)
    command, own = (
        (manifest.get("command"), manifest.get("environment")) if isinstance(manifest, dict) else (None, None)
    )
    if (
        not isinstance(command, list)
        or not isinstance(own, dict)
        or not all(isinstance(word, str) for word in (*command, *own.values()))
    ):
        raise ValueError(f"{record['generation']} without command and environment")
    left_out = {*record["withheld"], ARGUMENTS}
    inherited = {
        name: text
        for name, text in environment.items()
        if name not in left_out and not name.startswith(UPSTREAM_PREFIX)
    }
    return [*command, *arguments], {**inherited, **own}
