# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The command line: commands, options and views of results."""
