# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The command line: options, the views of what came, and the commands themselves."""
