# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""``python benchmarks/payload.py CHECKOUT…`` prints how many bytes Ansible sends to a host for a call of each module.

Without a checkout it measures this one. Each checkout is measured in a process of its own, because Ansible's loaders
find a collection once.
"""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
CORE = "ansible_collections/llama_fleet/core"
MEASURE = """
import json, pathlib, sys
from ansible.executor.module_common import modify_module
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader, module_loader
from ansible.template import Templar
init_plugin_loader([sys.argv[1]])
sizes = {}
for path in sorted(pathlib.Path(sys.argv[1], sys.argv[2], "plugins/modules").glob("[a-z]*.py")):
    name = f"llama_fleet.core.{path.stem}"
    place = module_loader.find_plugin_with_context(name).plugin_resolved_path
    variables = {"ansible_python_interpreter": "/usr/bin/python3"}
    built = modify_module(
        module_name=name, module_path=place, module_args={}, templar=Templar(DataLoader()), task_vars=variables,
        module_compression="ZIP_DEFLATED")
    sizes[path.stem] = len(built.b_module_data if hasattr(built, "b_module_data") else built[0])
print(json.dumps(sizes))
"""


def main() -> int:
    checkouts = sys.argv[1:] or [str(ROOT)]
    sizes = [_sizes(checkout) for checkout in checkouts]
    print(f"| bytes of | {' | '.join(checkouts)} |\n|---|{'---|' * len(checkouts)}")
    for module in sorted(set().union(*sizes)):
        print(f"| `{module}` | {' | '.join(str(size.get(module, '')) for size in sizes)} |")
    print(f"| sum | {' | '.join(str(sum(size.values())) for size in sizes)} |")
    return 0


def _sizes(checkout: str) -> dict[str, int]:
    """Return the bytes of each module's payload, by its name."""
    collections = str(pathlib.Path(checkout).resolve() / "collections")
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": collections}
    command = [sys.executable, "-c", MEASURE, collections, CORE]
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    sizes: dict[str, int] = json.loads(output)
    return sizes


if __name__ == "__main__":
    sys.exit(main())
