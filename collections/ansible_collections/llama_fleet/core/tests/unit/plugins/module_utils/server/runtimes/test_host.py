# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import pathlib

from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host as runtime_host
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import Place, RuntimeHost


def test_the_unit_has_the_instance_s_name() -> None:
    assert Place(pathlib.Path("/etc/llama-fleet/instances/chat"), pathlib.Path("/run"), RuntimeHost()).unit == (
        "llama-fleet-chat.service"
    )


def test_systemd_is_only_there_as_pid_1(tmp_path: pathlib.Path) -> None:
    assert not runtime_host.has_systemd(tmp_path)
    (tmp_path / "run" / "systemd" / "system").mkdir(parents=True)
    (tmp_path / "proc" / "1").mkdir(parents=True)
    (tmp_path / "proc" / "1" / "comm").write_text("tini\n", encoding="ascii")
    assert not runtime_host.has_systemd(tmp_path)
    (tmp_path / "proc" / "1" / "comm").write_text("systemd\n", encoding="ascii")
    assert runtime_host.has_systemd(tmp_path)
