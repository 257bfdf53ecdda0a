# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Talk to an instance over OpenAI's chat API."""
