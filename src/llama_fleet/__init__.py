# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Drive the collection llama_fleet.core: the command line and the container's entrypoint."""

__version__ = "0.1.0"
