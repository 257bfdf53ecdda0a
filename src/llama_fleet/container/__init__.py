# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Start a container: the modules of the image's entrypoint."""
