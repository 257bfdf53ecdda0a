# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Remove the module payloads that Ansible leaves on a host: they contain all arguments, including tokens and keys.

Ansible removes them itself at the end of a run. But a background job keeps its payload while it works, and a killed run
never removes its own.
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
    r"AnsiballZ_(cuda_toolkit|gguf_info|gguf_model|llama_cpp_native|llama_cpp_release|llama_server|plan_info"
    r"|preflight_info)\.py"
)
_FOLDERS = "ansible-tmp-*"
# Lies beside the payload of a background job.
_WRAPPER = "async_wrapper.py"
# Age in seconds after which no run can still need a payload: a module removes its own as soon as it starts.
ABANDONED = 3600
_MOST_FOLDERS = 1000


def forget(remote_tmp: str = "", command: typing.Sequence[str] | None = None) -> None:
    """Remove this process's payload and those of killed runs, beside it and in ``remote_tmp``.

    Files that cannot be removed stay.
    """
    own = _own(_command() if command is None else command)
    places = {pathlib.Path(os.path.expanduser(remote_tmp))} if remote_tmp else set()
    if own is not None:
        with contextlib.suppress(OSError):
            own.unlink()
        places.add(own.parent.parent)
    # With become, the payload lies in the home folder of the user that Ansible connects as.
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
    """Return the payload named in a command line.

    Returns None if Ansible pipelined it, because then there is no file.
    """
    candidates = (pathlib.Path(word) for word in command[:3])
    return next(
        (
            path
            for path in candidates
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
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and status.st_mtime < before
