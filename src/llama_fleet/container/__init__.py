# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What a container's start does and nothing else: the entrypoint's own modules."""
