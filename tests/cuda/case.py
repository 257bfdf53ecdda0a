# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Call the module cuda_toolkit without Ansible, and through it."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
import types
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import stage

ROOT = pathlib.Path(__file__).resolve().parents[2]
Returned = dict[str, typing.Any]


def run(root: pathlib.Path, check_mode: bool = False, **params: typing.Any) -> Returned:
    """Run the module without Ansible and return its result."""
    defaults = {name: argument.get("default") for name, argument in stage.ARGUMENTS.items()}
    return stage.run(types.SimpleNamespace(params={**defaults, "root": str(root), **params}, check_mode=check_mode))


def ansible(module: str, **arguments: typing.Any) -> Returned:
    """Return what a module returns when Ansible runs it on this machine."""
    command = [
        str(pathlib.Path(sys.executable).with_name("ansible")),
        "-i",
        "inventories/localhost",
        "localhost",
        "-m",
        f"llama_fleet.core.{module}",
    ]
    done = subprocess.run(
        [*command, "-a", json.dumps(arguments)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    shown = re.search(r"^localhost \| \w+!? => (\{.*)", done.stdout, re.MULTILINE | re.DOTALL)
    assert shown, done.stdout + done.stderr
    return typing.cast("Returned", json.loads(shown[1]))
