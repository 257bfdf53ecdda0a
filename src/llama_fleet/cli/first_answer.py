# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Show an answer of the instance that was just started on this machine while it is generated, and how to go on."""

import dataclasses
import importlib
import shlex
import sys
import typing
from collections.abc import Mapping

import click

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.server import gating
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import trust as server_trust
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import router
from llama_fleet import printed
from llama_fleet.cli.invocation import Invocation
from llama_fleet.errors import FleetError

TOKENS, SECONDS = 64, 300.0
_COMPLETION, _DEFAULT = "completion", "default"


@dataclasses.dataclass(frozen=True)
class Instance:
    """An instance of this machine: the role's ``result``, and the ``variables`` of the run."""

    result: Mapping[str, typing.Any]
    variables: Mapping[str, typing.Any]

    @property
    def converses(self) -> bool:
        """Return whether it runs and generates text with a model of its own."""
        allowed = self.variables.get("llama_server_allow") or ()
        options = {name: self.variables.get(f"llama_server_{name}") for name in ("embeddings", "rerank")}
        options["extra_options"] = self.variables.get("llama_server_extra_options") or {}
        is_completion = gating.mode_of(options) == _COMPLETION
        return bool(self.result["endpoint"]) and is_completion and router.MODE not in allowed

    def show(self, prompt: str) -> None:
        """Ask ``prompt`` and show answer, speed and time to the first token.

        Warn if the instance cannot be reached from here, because its gate has proved it. Raises FleetError if it
        answers an error or nothing.
        """
        server, shown = (importlib.import_module(f"llama_fleet.chat.{name}") for name in ("server", "shown"))
        asked = [{"role": "user", "content": prompt}]
        display, answer = shown.Display(sys.stdout), shown.Shown()
        click.echo()
        try:
            pieces = self._server(SECONDS).answer(asked, max_tokens=TOKENS, temperature=0)
            display.show(pieces, answer)
        except server.UnreachableError as error:
            click.echo(f"Warning: {printed.text(str(error))}", err=True)
            return
        if not answer.pieces:
            raise FleetError("The instance is ready, but its answer to the prompt is empty.")
        display.remark(answer.figures())
        click.echo()

    def ways(self, invocation: Invocation) -> list[str]:
        """Return the commands to go on with, for a shell."""
        name = str(self.variables.get("llama_server_instance") or _DEFAULT)
        place = ["--prefix", str(invocation.prefix)] if invocation.prefix else []
        place += ["--instance", name] if name != _DEFAULT else []
        chat = [f"{shlex.join(['./llama-fleet', 'chat', *place])}  # talk to it"]
        opened = shlex.join(["./llama-fleet", "open", *place])
        return [*chat, *([f"{opened}  # {self._base}/ in a browser"] if self._has_interface() else [])]

    def _has_interface(self) -> bool:
        try:
            return bool(self._server(SECONDS).has_interface())
        except importlib.import_module("llama_fleet.chat.server").UnreachableError:
            return False

    @property
    def _base(self) -> str:
        extra = self.variables.get("llama_server_extra_options") or {}
        return f"{self.result['endpoint']}{extra.get('api-prefix', '')}"

    def _server(self, seconds: float) -> typing.Any:
        """Return a client of the instance, which gives the key to no other process."""
        keys = [self.variables.get("llama_server_api_key"), *(self.variables.get("llama_server_api_keys") or ())]
        key = next((str(each) for each in keys if each), "")
        process = processes.find(int(self.result["pid"]))
        server = importlib.import_module("llama_fleet.chat.server")
        if process is None:
            raise server.UnreachableError("The instance's process is not visible to this user, so it was not asked.")
        certificate = server_trust.leaf(str(self.result.get("certificate") or ""))
        trust = server_trust.Trust(process, certificate, key)
        return server.Server(server.Target(self._base, key, trust=trust), seconds)
