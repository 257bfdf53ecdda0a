# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The image's health check: asks the server's own /health on the port that the container was started with."""

import http.client
import os
import sys

from llama_fleet import settings


def main() -> int:
    catalogue = settings.load()
    given = settings.from_environment(os.environ, catalogue)
    port = given.get("llama_server_port", catalogue.variables["llama_server_port"].default)
    connection = http.client.HTTPConnection("127.0.0.1", int(str(port)), timeout=4)
    try:
        connection.request("GET", "/health")
        return 0 if connection.getresponse().status == http.client.OK else 1
    except OSError:
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
