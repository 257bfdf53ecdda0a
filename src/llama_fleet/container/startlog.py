# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Log a container's start as plain lines or JSON lines, and store its phase for the health check."""

import contextlib
import json
import os
import stat
import sys
import time
import typing
from collections.abc import Mapping, Sequence

from llama_fleet import printed
from llama_fleet.container import record

# Not in the volume, because it concerns this container only. Used only if the folder belongs to this user.
PHASE = f"/tmp/llama-fleet-{os.geteuid()}/start.json"
PREPARING, SERVING = "preparing", "serving"
FORMATS = ("plain", "json")
_LABELS = {"error": "Error: ", "warning": "Warning: "}


class Log:
    """A log on stderr, where llama-server logs as well."""

    def __init__(self, as_json: bool = False, stream: typing.TextIO | None = None) -> None:
        self.as_json = as_json
        self._stream = stream or sys.stderr

    def say(self, event: str, text: str, **more: object) -> None:
        """Write a line; ``more`` appears in JSON only."""
        if self.as_json:
            line = json.dumps(
                {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "event": event, "text": text, **more}
            )
        else:
            line = printed.text(f"{_LABELS.get(event, '')}{text}")
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def info(self, text: str) -> None:
        """Write an informational line."""
        self.say("info", text)

    def warning(self, text: str) -> None:
        """Write a warning."""
        self.say("warning", text)

    def error(self, text: str) -> None:
        """Write an error."""
        self.say("error", text)


def split(arguments: Sequence[str], given: str) -> tuple[str, list[str]]:
    """Split arguments into the log format and llama-server's arguments.

    The format is that of ``--log`` if it comes first, else ``given``, else plain.
    """
    if arguments[:1] == ["--log"]:
        return (arguments[1] if len(arguments) > 1 else ""), list(arguments[2:])
    if arguments and arguments[0].startswith("--log="):
        return arguments[0].partition("=")[2], list(arguments[1:])
    return given or FORMATS[0], list(arguments)


def phase(name: str, text: str, **more: object) -> None:
    """Store the phase for the health check, which falls back to the volume if this is not possible."""
    with contextlib.suppress(OSError):
        with contextlib.suppress(FileExistsError):
            os.mkdir(os.path.dirname(PHASE), 0o700)
        if _is_ours():
            record.write({"phase": name, "text": text, **more}, PHASE)


def read_phase() -> record.Record:
    """Return what ``phase`` wrote last; empty if there is nothing, or another user could have written it."""
    try:
        return record.read_object(PHASE) if _is_ours() else {}
    except OSError:
        return {}


def _is_ours() -> bool:
    """Return whether the folder of the phase belongs to this user and no other user can write to it. Raises OSError."""
    status = os.lstat(os.path.dirname(PHASE))
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o022


def is_open(command: Sequence[str], host: str) -> bool:
    """Return whether a server with this command line on ``host`` answers other hosts without an API key."""
    return "--api-key-file" not in command and not (host.startswith("127.") or host in ("localhost", "::1"))


def address(command: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return where a server listens. Flags override the environment; the last flag counts."""

    def value(flag: str, variable: str, default: str) -> str:
        places = [place for place, word in enumerate(command[:-1]) if word == flag]
        return command[places[-1] + 1] if places else environment.get(variable) or default

    return {
        "host": value("--host", "LLAMA_ARG_HOST", "127.0.0.1"),
        "port": value("--port", "LLAMA_ARG_PORT", "8080"),
        "prefix": value("--api-prefix", "LLAMA_ARG_API_PREFIX", ""),
        "certificate": value("--ssl-cert-file", "LLAMA_ARG_SSL_CERT_FILE", ""),
    }
