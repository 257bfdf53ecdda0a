# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""One run of a play: started through ansible-runner, its events read, shown and ended."""
