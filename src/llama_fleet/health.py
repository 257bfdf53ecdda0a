# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The image's health check: asks the server's own /health where the container was told to listen."""

import http.client
import os
import sys

from llama_fleet import settings

# Where a server is asked that listens everywhere.
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def main() -> int:
    catalogue = settings.load()
    given = settings.from_environment(os.environ, catalogue)
    # The user's own LLAMA_ARG_* win for the server, too.
    port = os.environ.get("LLAMA_ARG_PORT") or given.get("llama_server_port", catalogue.variables["llama_server_port"].default)
    host = os.environ.get("LLAMA_ARG_HOST") or str(given.get("llama_server_host", "0.0.0.0"))
    connection = http.client.HTTPConnection(EVERYWHERE.get(host, host), int(str(port)), timeout=4)
    try:
        connection.request("GET", "/health")
        return 0 if connection.getresponse().status == http.client.OK else 1
    except (OSError, http.client.HTTPException):
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
