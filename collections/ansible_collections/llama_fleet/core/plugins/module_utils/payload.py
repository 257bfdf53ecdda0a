# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Remove the files in which Ansible carries a module to a host with all of its arguments, tokens and keys among them.

Ansible removes them itself where the run comes to its end. A background job's stay for as long as it works, and those
of a run that was killed for good.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import pwd
import re
import stat
import time
import typing

_PAYLOAD = re.compile(
    r"AnsiballZ_(cuda_toolkit|gguf_info|gguf_model|llama_cpp_release|llama_server|preflight_info)\.py"
)
_FOLDERS = "ansible-tmp-*"
# Beside a background job's payload.
_WRAPPER = "async_wrapper.py"
# Seconds after which a payload is no run's any more: a module removes its own as it starts, moments after it came.
ABANDONED = 3600
_MOST_FOLDERS = 1000


def forget(remote_tmp: str = "", command: typing.Sequence[str] | None = None) -> None:
    """Remove the payload of this process, and those that killed runs have left: beside it and in ``remote_tmp``.

    What cannot be removed stays.
    """
    own = _own(_command() if command is None else command)
    places = {pathlib.Path(os.path.expanduser(remote_tmp))} if remote_tmp else set()
    if own is not None:
        with contextlib.suppress(OSError):
            own.unlink()
        places.add(own.parent.parent)
    # Of a run that becomes root they lie with the user whom Ansible connects as.
    caller = os.environ.get("SUDO_USER", "")
    with contextlib.suppress(KeyError, OSError):
        if caller and remote_tmp.startswith("~/"):
            places.add(pathlib.Path(pwd.getpwnam(caller).pw_dir) / remote_tmp[2:])
    for place in places:
        with contextlib.suppress(OSError):
            _sweep(place)


def _command() -> list[str]:
    try:
        return pathlib.Path("/proc/self/cmdline").read_text(encoding="utf-8", errors="surrogateescape").split("\0")
    except OSError:
        return []


def _own(command: typing.Sequence[str]) -> pathlib.Path | None:
    """Return the payload that the words of a command name;

    None where Ansible has sent it through a pipe, and it is no file.
    """
    found = (pathlib.Path(word) for word in command[:3])
    return next(
        (
            path
            for path in found
            if _PAYLOAD.fullmatch(path.name) and path.parent.match(_FOLDERS) and path.is_absolute()
        ),
        None,
    )


def _sweep(place: pathlib.Path) -> None:
    before = time.time() - ABANDONED
    for _count, folder in zip(range(_MOST_FOLDERS), sorted(place.glob(_FOLDERS))):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or not folder.is_dir():
                continue
            names = os.listdir(folder)
            payloads = [name for name in names if _PAYLOAD.fullmatch(name) and _is_abandoned(folder / name, before)]
            for name in [*payloads, *([_WRAPPER] if payloads and _WRAPPER in names else [])]:
                (folder / name).unlink()
            if payloads:
                folder.rmdir()


def _is_abandoned(path: pathlib.Path, before: float) -> bool:
    found = path.lstat()
    return stat.S_ISREG(found.st_mode) and found.st_mtime < before
