# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Let a child process import the project, as the launcher's and the image's environments do."""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTHONPATH = os.pathsep.join(str(ROOT / name) for name in ("src", "collections"))
