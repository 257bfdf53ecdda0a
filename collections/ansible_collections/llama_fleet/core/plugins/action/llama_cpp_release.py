# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the progress of llama_cpp_release, and let hosts that trust each other share a release that one has built."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import resource
import typing
import uuid

from ansible.errors import AnsibleError
from ansible.utils.display import Display

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.published import parse_published
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import OFFERED
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.stage import lacks_binaries
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import line
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError, sentence
from ansible_collections.llama_fleet.core.plugins.module_utils.release import index as release_index
from ansible_collections.llama_fleet.core.plugins.module_utils.release import signature as release_signature
from ansible_collections.llama_fleet.core.plugins.plugin_utils import (
    accepted_release,
    host_results,
    overrides,
    published_binaries,
)
from ansible_collections.llama_fleet.core.plugins.plugin_utils.host_action import host_of
from ansible_collections.llama_fleet.core.plugins.plugin_utils.progress_action import ProgressAction
from ansible_collections.llama_fleet.core.plugins.plugin_utils.sharing import Sharing, sharing_of

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.plugin_utils.controller_cache import Accepted

display = Display()
Arguments = dict[str, typing.Any]
# The play's variable with the plan of the release that this run has made.
PLAN = "llama_fleet_release_plan"
# Minimum file size limit in bytes while a file comes from a host, because it also applies to this process's log.
_LEAST_LIMIT = 64 << 20


class ActionModule(ProgressAction):
    """An action that shares releases.

    Among hosts that are each other's ``builders`` the first one builds; the controller accepts its release and sends it
    to the others.
    """

    ROLE = "llama_cpp"

    def run(self, tmp: str | None = None, task_vars: Arguments | None = None) -> Arguments:
        try:
            return super().run(tmp, task_vars)
        except ProblemError as error:
            return {
                "failed": True,
                "msg": str(error),
                "problems": [dataclasses.asdict(problem) for problem in error.problems],
            }

    def _arguments(self, task_vars: Arguments) -> Arguments:
        arguments = super()._arguments(task_vars)
        if overrides.INSTANCE in task_vars:
            arguments["for_instance"] = str(self._templar.template(task_vars[overrides.INSTANCE]))
        plan = self._planned(task_vars)
        if plan:
            arguments["known"] = published_binaries.known_of(plan)
        sharing = self._sharing(arguments, task_vars)
        return {**arguments, "offered": sharing.offer()} if sharing else arguments

    def _planned(self, task_vars: Arguments) -> Arguments:
        """Return the plan that the play hands on; empty without one.

        It comes from the host, so it passes the door for the host's results once more.
        """
        if PLAN not in task_vars:
            return {}
        plan = host_results.admit("llama_cpp_release", self._templar.template(task_vars[PLAN]) or {}, "")
        return {} if plan.get("failed") else plan

    def _sharing(self, arguments: Arguments, task_vars: Arguments) -> Sharing | None:
        return sharing_of(arguments, task_vars, self._connection.transport, self._loader)

    def _look(self, arguments: Arguments, task_vars: Arguments) -> Arguments:
        wish = published_binaries.wish(arguments, str(task_vars.get("inventory_dir") or ""))
        if wish is None:
            return super()._look(arguments, task_vars)
        known = wish.known(ask=wish.moving, warn=display.warning)
        result = super()._look(known.among(arguments), task_vars)
        if not known.is_settled and lacks_binaries(result):
            known = wish.known(ask=True, warn=display.warning)
            result = super()._look(published_binaries.once_more(known.among(arguments), result), task_vars)
        return result

    def _with_published(self, arguments: Arguments, task_vars: Arguments) -> Arguments:
        """Return the arguments with the binaries that the host may take, which are pinned from now on."""
        wish = published_binaries.wish(arguments, str(task_vars.get("inventory_dir") or ""))
        if wish is None:
            return arguments
        known = wish.known(ask=wish.moving, warn=display.warning)
        if not known.is_settled:
            offered = str(arguments.get("offered", ""))
            plan = self._planned(task_vars) or self._plan(known.among(arguments), offered, task_vars)
            if lacks_binaries(plan):
                known = wish.known(ask=True, warn=display.warning)
        if known:
            published_binaries.pin(wish.lock, parse_published(known.published))
        return {**known.among(arguments), "asks_first": False}

    def _run_in_background(self, arguments: Arguments, task_vars: Arguments) -> Arguments:
        arguments = self._with_published(arguments, task_vars)
        sharing = self._sharing(arguments, task_vars)
        offered = arguments.pop("offered", "")
        if sharing is None or arguments.get("method") == "source":
            return super()._run_in_background(arguments, task_vars)
        # The host plans once. Without git it could not tell what it would build.
        plan = self._planned(task_vars)
        if not (plan.get("would_change") and plan.get("fingerprint_parts")):
            plan = self._plan({**arguments, "install_git": True}, offered, task_vars)
        if plan.get("would_compile") and plan["fingerprint_parts"]:
            with self._turn(sharing, plan, task_vars):
                built_meanwhile = sharing.match(plan)
                if not built_meanwhile:
                    return self._build(arguments, sharing, plan, task_vars)
            return self._bring(arguments, sharing, built_meanwhile, task_vars)
        if plan.get("taken_from") == OFFERED:
            return self._bring(arguments, sharing, plan["takes"], task_vars)
        has_nothing_to_do = plan.get("would_change") is False
        return plan if plan.get("failed") or has_nothing_to_do else super()._run_in_background(arguments, task_vars)

    def _turn(self, sharing: Sharing, plan: Arguments, task_vars: Arguments) -> typing.ContextManager[None]:
        if not sharing.takes:
            return contextlib.nullcontext()

        def waiting() -> None:
            self._say(task_vars, "waiting for another host that builds the same release")

        early = {name: value for name, value in plan["fingerprint_parts"].items() if name not in accepted_release.LATE}
        among = [early, sorted(map(dataclasses.astuple, sharing.trusted)), sorted(sharing.signers)]
        return sharing.cache.turn(
            json.dumps(among, sort_keys=True), waiting, keep=sharing.hands_on, meanwhile=self.meanwhile
        )

    def _plan(self, arguments: Arguments, offered: str, task_vars: Arguments) -> Arguments:
        return self._execute_module(
            module_args={**arguments, "offered": offered, "plan_only": True}, task_vars=task_vars
        )

    def _build(self, arguments: Arguments, sharing: Sharing, plan: Arguments, task_vars: Arguments) -> Arguments:
        """Build, and keep the release on the controller if others may take it.

        A failure to keep it is only a warning.
        """
        built = super()._run_in_background(arguments, task_vars)
        if not built.get("failed") and sharing.hands_on:
            try:
                self._collect(arguments, sharing, plan, built, task_vars)
            except (AnsibleError, *accepted_release.REFUSALS) as error:
                host = host_of(task_vars)
                display.warning(line(f"The release of {host} is not shared with other hosts: {error}", 4000))
        return built

    def _collect(
        self, arguments: Arguments, sharing: Sharing, plan: Arguments, built: Arguments, task_vars: Arguments
    ) -> None:
        """Fetch the host's build to the controller, and accept it.

        Every path is chosen by the controller; the host's information only limits the size.
        """
        wanted = accepted_release.asked(arguments, plan["fingerprint_parts"], built)
        folder = f"/tmp/llama-fleet-{uuid.uuid4().hex}"  # an unguessable name that no one can have prepared
        try:
            packed = super()._run_in_background({**arguments, "state": "packed", "pack_to": folder}, task_vars)
            if packed.get("failed"):
                raise AnsibleError(packed.get("msg", "it cannot be packed"))
            size = accepted_release.size_of(packed.get("packed", {}))
            self._say(task_vars, f"fetching {wanted.file} to the controller, {size / 1e6:.0f} MB")
            with sharing.cache.arriving() as local:
                archive, signature = local / wanted.file, local / f"{wanted.file}{release_signature.SUFFIX}"
                self._fetch(f"{folder}/{archive.name}", archive, size)
                if sharing.signs:
                    self._fetch(f"{folder}/{signature.name}", signature, 1 << 16)
                entry = accepted_release.accept(archive, wanted)
                sharing.cache.add(entry, archive, sharing.host, signature if sharing.signs else None)
        finally:
            self._low_level_execute_command(f"rm -rf {folder}")

    def _fetch(self, path: str, local: pathlib.Path, size: int) -> None:
        """Fetch a file of at most ``size`` bytes; the kernel stops a larger one."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (max(size, _LEAST_LIMIT), before[1]))
        try:
            self._connection.fetch_file(path, str(local))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        if local.is_symlink() or not local.is_file() or local.stat().st_size > size:
            raise AnsibleError(f"{local.name} is more than the {size} bytes that the host announced")

    def _bring(self, arguments: Arguments, sharing: Sharing, name: str, task_vars: Arguments) -> Arguments:
        """Send the packed release ``name`` to the host and let it take it, signed by its builder or the controller."""
        accepted = sharing.offers().get(name)
        if accepted is None:
            host, asked = f"host {host_of(task_vars)}", f"a request for {line(name, 80)}"
            return {"failed": True, "msg": sentence(host, "a release that was offered to it", asked)}
        try:
            sharing.cache.take(accepted)
        except accepted_release.REFUSALS as error:
            display.warning(
                line(
                    (
                        f"The release {name} on the controller is unusable, so {host_of(task_vars)} builds its own. "
                        f"{error}"
                    ),
                    4000,
                )
            )
            return super()._run_in_background(arguments, task_vars)
        self._say(
            task_vars,
            (
                f"sending {accepted.entry.file} as {line(accepted.builder.host, 80)} has built it, "
                f"{accepted.entry.size / 1e6:.0f} MB"
            ),
        )
        folder = self._make_tmp_path()
        try:
            self._send(accepted, folder, own=bool(sharing.signers))
            signers = list(sharing.signers) or [sharing.cache.signer()]
            # It is taken and not built, so the parts of a build are not handed on.
            known = published_binaries.known_of(self._planned(task_vars), with_parts=False)
            return super()._run_in_background(
                {**arguments, "known": known, "cache": [folder.rstrip("/")], "trusted_signers": signers}, task_vars
            )
        finally:
            self._remove_tmp_path(folder)

    def _send(self, accepted: Accepted, folder: str, own: bool) -> None:
        """Copy a release into ``folder`` of the host, with an index and its builder's ``own`` signature or ours."""
        join = self._connection._shell.join_path
        sent = [self._transfer_file(str(path), join(folder, target)) for path, target in accepted.files(own=own)]
        index = json.dumps(release_index.render([accepted.entry]))
        sent.append(self._transfer_data(join(folder, release_index.INDEX), index))
        self._fixup_perms2((folder, *sent), execute=False)

    def _say(self, task_vars: Arguments, what: str) -> None:
        display.display(line(f"[{self._shown_host(task_vars)}] {what}"))
