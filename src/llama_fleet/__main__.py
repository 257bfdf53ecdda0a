# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run the command line as ``python -m llama_fleet``."""

import sys

from llama_fleet.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
