# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Check the health of the container: query the server's /health, or report how far the start is.

The check fails until the server answers, so that a container that compiles or loads stays in the state "starting".
"""

import http.client
import os
import sys

from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import trust
from llama_fleet import printed
from llama_fleet.container import record, startlog

SECONDS = 4.0


def main() -> int:
    """Print the state. Return 0 if the server is ready, else 1."""
    phase = startlog.read_phase() or _recorded()
    if not phase:
        return _tell("no start is recorded", 1)
    if phase["phase"] != startlog.SERVING:
        return _tell(phase["text"], 1)
    connection = _connection(phase)
    try:
        connection.request("GET", f"{phase['prefix']}/health")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return _tell(f"no answer from llama-server at {connection.host}:{connection.port}: {error}", 1)
    finally:
        connection.close()
    if status == http.client.SERVICE_UNAVAILABLE:
        return _tell("loading the model", 1)
    return _tell("serving", 0) if status == http.client.OK else _tell(f"/health answered {status}", 1)


def _recorded() -> record.Record:
    """Return the server's address from the record, for containers whose /tmp is read-only."""
    try:
        command, environment = record.server(record.read(), os.environ, [])
    except (KeyError, OSError, ValueError):
        return {}
    return {"phase": startlog.SERVING, **startlog.address(command, environment)}


def _connection(phase: record.Record) -> http.client.HTTPConnection:
    host = str(phase["host"])  # Linux connects 0.0.0.0 and :: to this machine
    if not phase["certificate"]:
        return http.client.HTTPConnection(host, int(phase["port"]), timeout=SECONDS)
    # No certificate is demanded, because the file may have been renewed since the server read it.
    return http.client.HTTPSConnection(host, int(phase["port"]), timeout=SECONDS, context=trust.context(None))


def _tell(text: str, status: int) -> int:
    sys.stdout.write(f"{printed.one_line(text)}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
