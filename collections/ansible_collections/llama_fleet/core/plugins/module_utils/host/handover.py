# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Hand files and commands of a root process over to another user."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import stat
import typing

# User IDs that systemd's table of user IDs leaves unassigned, provided that no container is started with host users.
_BUILDERS = range(60577, 60513, -1)
# CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_KILL, CAP_SETGID, CAP_SETUID: needed to hand files over and to clean up afterwards.
_NEEDED = sum(1 << number for number in (0, 1, 5, 6, 7))
# llama-server options that name files only root can read, as flags and as environment variables.
_PRIVATE_FLAGS = ("--api-key-file", "--ssl-cert-file", "--ssl-key-file")
_PRIVATE_VARIABLES = ("LLAMA_ARG_API_KEY_FILE", "LLAMA_ARG_SSL_CERT_FILE", "LLAMA_ARG_SSL_KEY_FILE")


def may_become_others(status: str = "/proc/self/status") -> bool:
    """Return whether this process is root and has the capabilities to start processes as other users."""
    if os.geteuid() != 0:
        return False
    try:
        with open(status, encoding="ascii", errors="replace") as file:
            effective = re.search(r"^CapEff:\s*([0-9a-f]+)$", file.read(), re.MULTILINE)
    except OSError:
        return False
    return effective is not None and int(effective[1], 16) & _NEEDED == _NEEDED


def builder() -> int:
    """Return the ID of the first build user without a name, or 0 if this process cannot change its user."""
    return next((number for number in _BUILDERS if not _has_name(number)), 0) if may_become_others() else 0


def _has_name(number: int) -> bool:
    try:
        pwd.getpwuid(number)
    except KeyError:
        return False
    return True


def blocked(paths: typing.Iterable[str]) -> str:
    """Return the first of ``paths`` that an unprivileged user cannot read, with the blocking folder; empty if none.

    Missing files block nothing.
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


class Handed(typing.NamedTuple):
    """A server command for a user that may not read its key and certificate: their paths name open ``descriptors``."""

    command: list[str]
    environment: dict[str, str]
    descriptors: tuple[int, ...]


@contextlib.contextmanager
def handed_over(
    command: typing.Sequence[str], environment: typing.Mapping[str, str], user: int
) -> typing.Iterator[Handed]:
    """Lend in-memory copies of the private files that a server of ``user`` is started with.

    Nothing is written to disk. The descriptors are closed at the end, so start the server inside the context. For user
    0 everything stays as it is. Raises OSError if a file cannot be read.
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
            variables["HOME"] = "/"  # as for a unit's user: root's home is closed to others
        yield Handed(words, variables, tuple(copies.values()))
    finally:
        for descriptor in copies.values():
            os.close(descriptor)


def _in_memory(path: str, user: int, copies: dict[str, int]) -> str:
    """Copy a file once into memory that only ``user`` can read; return the path by which the server opens it."""
    if path not in copies:
        with open(path, "rb") as file:
            content = file.read()
        copies[path] = os.memfd_create("llama-fleet", os.MFD_CLOEXEC)
        os.write(copies[path], content)
        os.fchmod(copies[path], 0o400)
        os.fchown(copies[path], user, user)
    return f"/proc/self/fd/{copies[path]}"


def give(folder: str, user: int) -> bool:
    """Change the owner of root's files in ``folder`` to ``user``, without following links.

    The folder itself comes last, so that the next run finishes the work of a killed one. Returns False if the folder
    belongs to a third user, who keeps it.
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
