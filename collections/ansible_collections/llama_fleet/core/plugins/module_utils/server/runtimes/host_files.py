# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""List the host's files that an instance reads, and where a server with another user or in a container finds them."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import typing
import zlib

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.shards import parse_shard
from ansible_collections.llama_fleet.core.plugins.module_utils.host import handover
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.errors import GateError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import router as server_router
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import state_folder
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import table as server_settings

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

# systemd's table of user numbers leaves these unused; its dynamic users begin after them.
_FIRST_USER, _USERS = 60578, 606


@dataclasses.dataclass(frozen=True)
class Private:
    """A file that only root can read: the server reads a copy called ``name``, by ``flag``."""

    name: str
    source: str
    flag: str


def private(options: Options) -> list[Private]:
    """Return the files that not every user of the host may read."""
    keys = str(options.key_file) if options.api_key or options.api_keys else ""
    wanted = [
        Private("api-key", keys, "--api-key-file"),
        Private("tls-certificate", options.tls_certificate, "--ssl-cert-file"),
        Private("tls-key", options.tls_key, "--ssl-key-file"),
    ]
    return [file for file in wanted if file.source]


def copies(options: Options) -> str:
    """Return the folder in which the server finds the copies of its private files."""
    return f"/run/{options.unit[: -len('.service')]}"


def moved(options: Options, command: typing.Sequence[str], variables: typing.Mapping[str, str]) -> list[str]:
    """Return the command with the copies in place of the private files.

    If a variable names an original, append a flag that names the copy, because flags win.
    """
    names = {file.source: f"{copies(options)}/{file.name}" for file in private(options)}
    words = [names.get(word, word) for word in command]
    for file in private(options):
        if file.source in variables.values() and file.source not in command:
            words += [file.flag, names[file.source]]
    return words


def public(options: Options, command: typing.Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return the files that the server reads beside its release, each with the role variable that names it.

    Of the absolute paths in ``command`` only existing files count.
    """
    files = [("llama_server_model", path) for path in _shards(options.model)]
    files += [("llama_server_mmproj", options.mmproj)] if options.mmproj else []
    files += [("llama_server_draft", path) for path in _shards(options.draft)]
    files += [("llama_server_lora", path) for path, _scale in server_settings.adapters(options)]
    files += [("llama_server_chat_template", options.chat_template)] if options.chat_template.startswith("/") else []
    known = {path for _variable, path in files} | {
        path for file in private(options) for path in (file.source, f"{copies(options)}/{file.name}")
    }
    words = [word.partition("=")[2] if word.startswith("-") else word for word in command[1:]]
    more = [
        word for word in dict.fromkeys(words) if word.startswith("/") and word not in known and os.path.isfile(word)
    ]
    return files + [("llama_server_extra_options", path) for path in more]


def mounts(options: Options, command: typing.Sequence[str]) -> list[str]:
    """Return the paths that a container mounts from the host, at the same place: the release and the public files."""
    routed = server_router.places(options).values()
    return list(dict.fromkeys([options.release, *(path for _variable, path in public(options, command)), *routed]))


def state(options: Options) -> list[str]:
    """Return the folders that the server writes, the outer one first; none if it writes none."""
    path = state_folder.used(options)
    return [str(state_folder.folder(options)), path] if path else []


def make_state(folders: typing.Sequence[str], user: int) -> None:
    """Make the folders that a server writes, for the user of that number; 0 is our own. Raises GateError."""
    try:
        for number, folder in enumerate(map(pathlib.Path, folders)):
            if not number:
                folder.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
        if folders and user:
            handover.give(folders[0], user)
    except OSError as error:
        raise GateError(f"{error.filename} cannot be made for its slots: {error.strerror}") from error


def container_user(options: Options) -> int:
    """Return the number of the user in the instance's container, which nothing else on the host uses."""
    return user_of(options.instance)


def user_of(instance: str) -> int:
    """Return that number by the instance's name."""
    return _FIRST_USER + zlib.crc32(instance.encode("utf-8")) % _USERS


def locks_memory(options: Options, command: typing.Sequence[str], variables: typing.Mapping[str, str]) -> bool:
    """Return whether the server will lock its model in memory, under any of the releases' names for it."""
    words = [options.load_mode, variables.get("LLAMA_ARG_LOAD_MODE", ""), *command]
    return "LLAMA_ARG_MLOCK" in variables or any(word in ("mlock", "mmap+mlock", "--mlock") for word in words)


def _shards(model: str) -> list[str]:
    """Return all files of a model, given its first."""
    path = pathlib.PurePath(model)
    shard = parse_shard(path.name)
    if shard:
        return [str(path.with_name(name)) for name in shard.names]
    return [model] if model else []
