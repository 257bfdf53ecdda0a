# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Run the module llama_server on this host as Ansible does: in a separate process, with its arguments as JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import printable
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import gate as server_gate

if typing.TYPE_CHECKING:
    import pathlib

TIME_LIMIT = 400.0  # seconds; the first start of CUDA with a model of 8 GB takes a tenth of that
_SHOWN = 2000
_RUN = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.llama_fleet.core.plugins.modules import llama_server
with patch_module_args(json.load(sys.stdin)):
    llama_server.main()
"""


class ModuleError(Exception):
    """The module failed or returned no result; the message is its output."""


@dataclasses.dataclass(frozen=True)
class Instances:
    """The instances below one folder, which share the ``common`` arguments.

    ``environment`` has Ansible and the collection on its path.
    """

    folder: pathlib.Path
    environment: typing.Mapping[str, str]
    common: typing.Mapping[str, typing.Any]

    def apply(
        self, name: str, arguments: typing.Mapping[str, typing.Any], check: bool = False, hidden: bool = False
    ) -> dict[str, typing.Any]:
        """Run the module for the instance ``name`` and return its result, or raise ModuleError with its output.

        ``hidden`` hides every GPU from it.
        """
        given = {
            **self.common,
            "root": str(self.folder / "etc"),
            "runtime_root": str(self.folder / "run"),
            "runtime": "process",
            "instance": name,
            "_ansible_check_mode": check,
            **arguments,
        }
        environment = {**self.environment, **({"CUDA_VISIBLE_DEVICES": ""} if hidden else {})}
        command = [sys.executable, "-P", "-c", _RUN]
        try:
            done = subprocess.run(
                command,
                input=json.dumps(given),
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=TIME_LIMIT,
            )
        except subprocess.TimeoutExpired:
            raise ModuleError(f"llama_server did not end within {TIME_LIMIT:g} s") from None
        return result_of(done.stdout, done.stderr)

    def refused(self, name: str, arguments: typing.Mapping[str, typing.Any], hidden: bool = False) -> str:
        """Return why the module refuses these arguments; empty if it does not."""
        try:
            self.apply(name, arguments, hidden=hidden)
        except ModuleError as error:
            return str(error)
        return ""

    def remove(self, *names: str) -> None:
        """Stop and remove the instances ``names``; ignore failures, because another error is being reported."""
        for name in names:
            with contextlib.suppress(ModuleError):
                self.apply(name, {"state": "absent"})


def result_of(said: str, beside: str) -> dict[str, typing.Any]:
    """Return the result in a module's last line; raise ModuleError for a failure and for anything else."""
    line = next((line for line in reversed(said.splitlines()) if line.startswith("{")), "")
    try:
        result = json.loads(line)
    except ValueError:
        raise ModuleError(printable(f"no result: {said[-_SHOWN:]}{beside[-_SHOWN:]}".strip(), _SHOWN)) from None
    if result.get("failed"):
        raise ModuleError(printable(str(result.get("msg", "without a word")), _SHOWN))
    return typing.cast("dict[str, typing.Any]", result)


def answers(port: int) -> bool:
    """Return whether the instance on ``port`` of this host generates a token."""
    reply = server_gate.asker(server_gate.endpoint("127.0.0.1", port, False))(
        "/completion", {"prompt": "Hi", "n_predict": 1}, 60.0
    )
    return reply.status == 200
