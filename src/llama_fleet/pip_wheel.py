# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Print where the launcher's environment gets pip from: the wheel of this Python's ensurepip, or else a pinned one.

Installing pip by ensurepip takes longer than all of the launcher's other preparations, and Debian ships ensurepip in a
package of its own. The launcher runs this file before anything is installed, so it needs only the standard library.
"""

import glob
import importlib.util
import os
import pathlib
import sys
import sysconfig

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.index import index_url
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.tools.venv import pip_folder


def bundled() -> str:
    """Return the path of the pip wheel that ensurepip would install; empty without ensurepip."""
    spec = importlib.util.find_spec("ensurepip")
    if spec is None:
        return ""
    own = os.path.join(os.path.dirname(spec.origin or ""), "_bundled")
    # Distributions keep the wheels in a folder of their own.
    folders = [sysconfig.get_config_var("WHEEL_PKG_DIR") or own, own, "/usr/share/python-wheels"]
    wheels = [path for folder in folders for path in sorted(glob.glob(f"{folder}/pip-*.whl"))]
    return next(iter(wheels), "")


def main(environment: str) -> int:
    """Print a path for PYTHONPATH that contains pip; return the exit status."""
    try:
        print(bundled() or pip_folder(pathlib.Path(environment), index_url(), "package index"))
    except ProblemError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
