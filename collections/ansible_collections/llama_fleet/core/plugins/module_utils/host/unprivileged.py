# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run without rights what needs none, where this process is root: as a user without a name, without files and without
other processes.

A container's start imports this too: nothing here imports more than it must.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import stat
import typing

# Users between these belong to nobody by systemd's own table of user numbers, as long as no container is started with
# users of the host.
_BUILDERS = range(60577, 60513, -1)
# CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_KILL, CAP_SETGID, CAP_SETUID: what it takes to hand over, and to clear up afterwards.
_NEEDED = sum(1 << number for number in (0, 1, 5, 6, 7))
# What of the environment may be secret, whatever it is for.
_SECRET = re.compile(
    r".*(TOKEN|SECRET|PASSW(OR)?D|CREDENTIAL|API_?KEYS?|ACCESS_KEY|PRIVATE_KEY).*|SSH_AUTH_SOCK", re.IGNORECASE
)
# The options of llama-server that name files which only root can read, by flag and in its environment.
_PRIVATE_FLAGS = ("--api-key-file", "--ssl-cert-file", "--ssl-key-file")
_PRIVATE_VARIABLES = ("LLAMA_ARG_API_KEY_FILE", "LLAMA_ARG_SSL_CERT_FILE", "LLAMA_ARG_SSL_KEY_FILE")
_DEVICES = "/dev"


def may_become_others(status: str = "/proc/self/status") -> bool:
    """Return whether this process is root, with the capabilities to start others' processes."""
    if os.geteuid() != 0:
        return False
    try:
        with open(status, encoding="ascii", errors="replace") as file:
            found = re.search(r"^CapEff:\s*([0-9a-f]+)$", file.read(), re.MULTILINE)
    except OSError:
        return False
    return found is not None and int(found[1], 16) & _NEEDED == _NEEDED


def builder() -> int:
    """Return the number of the user that compiles here: the first in the room that has no name; 0 where this
    process can become nobody else.
    """
    return next((number for number in _BUILDERS if not _has_name(number)), 0) if may_become_others() else 0


def _has_name(number: int) -> bool:
    try:
        pwd.getpwuid(number)
    except KeyError:
        return False
    return True


def blocked(paths: typing.Iterable[str]) -> str:
    """Return the first of ``paths`` that a user without rights cannot read, with the folder that is in the way; empty
    where there is none.

    What is missing is in nobody's way.
    """
    for path in paths:
        real = os.path.realpath(path)
        parts = real.split(os.sep)
        for parent in (os.sep.join(parts[:count]) or os.sep for count in range(1, len(parts))):
            if not _lets(parent, stat.S_IXOTH):
                return f"{path}, where {parent} is closed to others"
        if not _lets(real, stat.S_IROTH | (stat.S_IXOTH if os.path.isdir(real) else 0)):
            return f"{path}, which others may not read"
    return ""


def _lets(path: str, bits: int) -> bool:
    try:
        return os.stat(path).st_mode & bits == bits
    except OSError:
        return True


def device_groups(folder: str = _DEVICES) -> list[int]:
    """Return the groups that a GPU's device nodes are for, where they are not for everybody."""
    found = set()
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if name.startswith("nvidia"):
            with contextlib.suppress(OSError):
                status = os.stat(os.path.join(folder, name))
                if (
                    stat.S_ISCHR(status.st_mode)
                    and status.st_gid
                    and status.st_mode & stat.S_IRGRP
                    and not status.st_mode & stat.S_IROTH
                ):
                    found.add(status.st_gid)
    return sorted(found)


def identity(user: int) -> dict[str, typing.Any]:
    """Return what subprocess.Popen is told to start a process as ``user``, in no group but its own and the GPUs';
    nothing for 0.
    """
    return {"user": user, "group": user, "extra_groups": device_groups()} if user else {}


def become(user: int) -> None:
    """Make this process one of ``user`` for good. Raises OSError."""
    os.setgroups(device_groups())
    os.setgid(user)
    os.setuid(user)


def without_secrets(environment: typing.Mapping[str, str]) -> dict[str, str]:
    """Return the environment without what may be a secret in it, by its names."""
    return {name: value for name, value in environment.items() if not _SECRET.fullmatch(name)}


class Handed(typing.NamedTuple):
    """How a server is started for a user who may not read its key and certificate: what names them names open
    ``descriptors``.
    """

    command: list[str]
    environment: dict[str, str]
    descriptors: tuple[int, ...]


@contextlib.contextmanager
def handed_over(
    command: typing.Sequence[str], environment: typing.Mapping[str, str], user: int
) -> typing.Iterator[Handed]:
    """Lend copies in memory of the private files that a server of ``user`` is told of; nothing of them lies on a disk.

    The descriptors are closed at the end, so the server has to be started within. For user 0 all stays as it is. Raises
    OSError where one of the files cannot be read.
    """
    words, variables, copies = list(command), dict(environment), dict[str, int]()
    try:
        if user:
            places = [
                (number + 1, words[number + 1]) for number, word in enumerate(words[:-1]) if word in _PRIVATE_FLAGS
            ]
            for number, path in places:
                words[number] = _in_memory(path, user, copies)
            for name in _PRIVATE_VARIABLES:
                if variables.get(name):
                    variables[name] = _in_memory(variables[name], user, copies)
            variables["HOME"] = "/"  # as a unit's user has it: root's is closed to others
        yield Handed(words, variables, tuple(copies.values()))
    finally:
        for descriptor in copies.values():
            os.close(descriptor)


def _in_memory(path: str, user: int, copies: dict[str, int]) -> str:
    """Copy a file into memory that only ``user`` can read, once; returns the name by which the server opens it."""
    if path not in copies:
        with open(path, "rb") as file:
            content = file.read()
        copies[path] = os.memfd_create("llama-fleet", os.MFD_CLOEXEC)
        os.write(copies[path], content)
        os.fchmod(copies[path], 0o400)
        os.fchown(copies[path], user, user)
    return f"/proc/self/fd/{copies[path]}"


def give(folder: str, user: int) -> bool:
    """Make what root has in ``folder`` the user's, the folder itself last, so that a run that was killed is finished by
    the next.

    Follows no link. Returns False where the folder is somebody else's, who keeps it.
    """
    owner = os.lstat(folder).st_uid
    if owner not in (0, user):
        return False
    if owner == 0:
        for _root, folders, files, descriptor in os.fwalk(folder):
            for name in (*folders, *files):
                if os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_uid == 0:
                    os.chown(name, user, user, dir_fd=descriptor, follow_symlinks=False)
        os.chown(folder, user, user, follow_symlinks=False)
    return True
