# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Every kind of unit before systemd's own judges: is it understood, and how much is the server kept from."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import systemd_text
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import quadlet_file as server_quadlet
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import unit_file as server_unit
from ansible_collections.llama_fleet.core.tests.unit.fakes.options import CPU, CUDA

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

KINDS: dict[str, tuple[Options, dict[str, typing.Any]]] = {
    "cpu": (CPU, {}),
    "cpu-open": (CPU, {"host": "0.0.0.0", "allow_unauthenticated": True}),
    "cpu-key": (CPU, {"api_key": "s3cret"}),
    "cpu-low-port": (CPU, {"host": "0.0.0.0", "port": 443, "api_key": "s3cret"}),
    "cpu-tls": (CPU, {"tls_certificate": "/etc/ssl/50 % of $A.pem", "tls_key": '/etc/ssl/"quoted".key'}),
    "cpu-limits": (CPU, {"memory_max": "80%", "cpu_quota": "150%", "stop_timeout": 60}),
    "cpu-mlock": (CPU, {"load_mode": "mmap+mlock"}),
    "cpu-slots": (CPU, {"extra_options": {"slot-save-path": "/var/lib/llama-fleet/instances/cpu-slots/slots"}}),
    "cpu-odd-model": (CPU, {"model": '/srv/a $b %c "d"/tiny.gguf'}),
    "cuda": (CUDA, {}),
    "cuda-bare": (
        CUDA,
        {"host": "127.0.0.1", "api_key": "", "tls_key": "", "tls_certificate": "", "load_mode": "auto"},
    ),
    "cuda-low-port": (CUDA, {"port": 443}),
}
LIMITS = {"cpu": 1.5, "cuda": 2.0}


def unit_of(kind: str, release: str = "") -> str:
    base, changes = KINDS[kind]
    options = dataclasses.replace(base, instance=kind, **changes, **({"release": release} if release else {}))
    keys = ["--api-key-file", str(options.key_file)] if options.api_key else []
    tls = ["--ssl-cert-file", options.tls_certificate, "--ssl-key-file", options.tls_key] if options.tls_key else []
    return server_unit.render(options, [str(options.server), *keys, *tls], {})


def values(text: str, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_understands_every_unit_and_finds_it_safe(tmp_path: pathlib.Path) -> None:
    release = tmp_path / "release"
    (release / "bin").mkdir(parents=True)
    (release / "bin" / "llama-server").touch(mode=0o755)
    paths = []
    for kind in KINDS:
        paths.append(tmp_path / f"llama-fleet-{kind}.service")
        paths[-1].write_text(unit_of(kind, str(release)), encoding="utf-8")
    verified = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False)
    # Before version 254 systemd ignores how the pauses grow.
    unknown = r"Unknown key (name )?'(RestartSteps|RestartMaxDelaySec)' in section \W?Service\W?, ignoring"
    strange = [line for line in verified.stderr.splitlines() if not re.search(unknown, line)]
    assert (verified.returncode, strange) == (0, [])
    for kind, path in zip(KINDS, paths):
        judged = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--no-pager", path],
            capture_output=True,
            text=True,
            check=False,
        )
        (score,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", judged.stdout)
        assert float(score) <= LIMITS[kind.partition("-")[0]], judged.stdout


def test_a_gpu_unit_sees_no_device_but_nvidias_and_that_of_wsl() -> None:
    text = unit_of("cuda")
    assert values(text, "DevicePolicy") == ["closed"]
    assert [value.split() for value in values(text, "DeviceAllow")] == [
        ["char-nvidia*", "rw"],
        ["/dev/nvidiactl", "rw"],
        ["/dev/nvidia-uvm", "rw"],
        ["/dev/nvidia-uvm-tools", "rw"],
        ["/dev/dxg", "rw"],
    ]
    assert values(unit_of("cpu"), "PrivateDevices") == ["yes"]
    assert not values(unit_of("cpu"), "DeviceAllow")


@pytest.mark.parametrize(
    ("changes", "command", "variables", "limit"),
    [
        ({}, [], {}, "8M"),
        ({"load_mode": "mlock"}, [], {}, "infinity"),
        ({}, ["--load-mode", "mmap+mlock"], {}, "infinity"),
        ({}, ["--mlock"], {}, "infinity"),
        ({}, [], {"LLAMA_ARG_MLOCK": "1"}, "infinity"),
        ({}, [], {"LLAMA_ARG_LOAD_MODE": "mlock"}, "infinity"),
        ({"load_mode": "mmap"}, [], {"LLAMA_ARG_LOAD_MODE": "mmap"}, "8M"),
    ],
)
def test_memory_may_be_locked_where_the_server_wants_to(
    changes: dict[str, typing.Any], command: list[str], variables: dict[str, str], limit: str
) -> None:
    options = dataclasses.replace(CPU, **changes)
    assert values(server_unit.render(options, [str(CPU.server), *command], variables), "LimitMEMLOCK") == [limit]


def test_a_server_for_this_host_only_still_reaches_its_workers() -> None:
    assert values(server_unit.render(CPU, ["/s"]), "IPAddressDeny") == ["any"]
    options = dataclasses.replace(CPU, devices=("RPC0",), extra_options={"rpc": "10.0.0.7:50052"})
    assert values(server_unit.render(options, ["/s"]), "IPAddressDeny") == []


def test_limits_are_there_where_they_are_asked_for() -> None:
    text = unit_of("cpu-limits")
    assert [values(text, name) for name in ("MemoryMax", "CPUQuota", "TimeoutStopSec", "SendSIGKILL")] == [
        ["80%"],
        ["150%"],
        ["60"],
        ["yes"],
    ]
    assert not values(unit_of("cpu"), "MemoryMax") + values(unit_of("cpu"), "CPUQuota")


def test_keys_are_copied_by_root_and_named_where_the_copy_is() -> None:
    text = unit_of("cpu-tls")
    (command,) = values(text, "ExecStart")
    assert command.endswith(
        "--ssl-cert-file /run/llama-fleet-cpu-tls/tls-certificate --ssl-key-file /run/llama-fleet-cpu-tls/tls-key"
    )
    copying = values(text, "ExecStartPre")
    assert (
        copying[0] == '+/usr/bin/install -m 0400 "/etc/ssl/50 %% of $$A.pem" /run/llama-fleet-cpu-tls/tls-certificate'
    )
    assert copying[2] == '+/usr/bin/install -m 0400 "/etc/ssl/\\"quoted\\".key" /run/llama-fleet-cpu-tls/tls-key'
    assert values(text, "RuntimeDirectoryMode") == ["0700"]
    assert not values(unit_of("cpu"), "RuntimeDirectory")


def test_the_flag_of_a_copy_wins_over_a_variable_that_names_the_original() -> None:
    options = dataclasses.replace(CPU, tls_certificate="/c.pem", tls_key="/k.pem")
    text = server_unit.render(
        options, [str(CPU.server)], {"LLAMA_ARG_SSL_CERT_FILE": "/c.pem", "LLAMA_ARG_SSL_KEY_FILE": "/k.pem"}
    )
    (command,) = values(text, "ExecStart")
    assert command.endswith(
        "--ssl-cert-file /run/llama-fleet-default/tls-certificate --ssl-key-file /run/llama-fleet-default/tls-key"
    )


def test_a_mount_is_waited_for_but_one_that_fails_does_not_keep_the_server_from_starting() -> None:
    text = unit_of("cpu-odd-model")
    mounts = "srv.mount srv-a\\x20\\x24b\\x20\\x25c\\x20\\x22d\\x22.mount"
    assert [line.endswith(mounts) for line in values(text, "Wants")] == [False, True]
    assert [line.endswith(mounts) for line in values(text, "After")] == [False, True]
    assert not values(text, "RequiresMountsFor") + values(text, "Requires")


def test_a_unit_never_gives_up_and_waits_for_what_prepares_the_gpus() -> None:
    for kind in KINDS:
        text = unit_of(kind)
        assert values(text, "StartLimitIntervalSec") == ["0"]
        assert (values(text, "Restart"), values(text, "RestartSec")) == (["on-failure"], ["5"])
        assert (values(text, "RestartSteps"), values(text, "RestartMaxDelaySec")) == (["6"], ["60"])
        first = values(text, "After")[0].split()
        assert {"remote-fs.target", "nvidia-persistenced.service", "nvidia-fabricmanager.service"} <= set(first)


def made_by_root(tmp_path: pathlib.Path, kind: str) -> tuple[pathlib.Path, subprocess.CompletedProcess[str]]:
    """Run what a unit or podman's file lets root do to make the folders below ``tmp_path``, with a strict mask."""
    own = tmp_path / "a b" / "$state" / "default"
    options = dataclasses.replace(CPU, state_root=own.parent, extra_options={"slot-save-path": f"{own}/slots"})
    render = server_unit.render if kind == "systemd" else server_quadlet.render
    lines = values(render(options, ["/s"], {}), "ExecStartPre")
    words = [systemd_text.parse_command_line(line.lstrip("+")) for line in lines if line[0] == "+" or kind != "systemd"]
    roots = [line for line in words if not line[0].endswith(("chown", "setpriv"))]
    script = " && ".join(["umask 077", *map(shlex.join, roots)])
    return own, subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)


def mode(path: pathlib.Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("kind", ["systemd", "quadlet"])
def test_root_makes_the_outer_folder_only_and_changes_none_that_exists(tmp_path: pathlib.Path, kind: str) -> None:
    own, result = made_by_root(tmp_path, kind)
    assert (result.returncode, result.stderr) == (0, "")
    assert [mode(path) for path in (own.parents[1], own.parent, own)] == [0o755, 0o711, 0o700]
    assert not (own / "slots").exists()
    own.parent.chmod(0o1777)
    (tmp_path / "usr").mkdir(mode=0o755)
    (own / "slots").symlink_to(tmp_path / "usr")
    assert made_by_root(tmp_path, kind)[1].returncode == 0
    assert (mode(own.parent), mode(tmp_path / "usr")) == (0o1777, 0o755)


@pytest.mark.parametrize("kind", ["systemd", "quadlet"])
def test_root_makes_nothing_where_the_outer_folder_is_a_link(tmp_path: pathlib.Path, kind: str) -> None:
    own = made_by_root(tmp_path, kind)[0]
    own.rmdir()
    (tmp_path / "usr").mkdir(mode=0o755)
    own.symlink_to(tmp_path / "usr")
    result = made_by_root(tmp_path, kind)[1]
    assert (result.returncode, "File exists" in result.stderr) == (1, True)
    assert (mode(tmp_path / "usr"), list((tmp_path / "usr").iterdir())) == (0o755, [])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_inner_folder_of_a_container_is_made_by_its_own_user() -> None:
    with tempfile.TemporaryDirectory() as outside:  # pytest's own folder is closed to others
        own = pathlib.Path(outside) / "default"
        options = dataclasses.replace(CPU, state_root=own.parent, extra_options={"slot-save-path": f"{own}/slots"})
        pathlib.Path(outside).chmod(0o711)
        for line in values(server_quadlet.render(options, ["/s"], {}), "ExecStartPre"):
            subprocess.run(systemd_text.parse_command_line(line), check=True)
        owners = [(path.stat().st_uid, mode(path)) for path in (own, own / "slots")]
    assert owners == [(server_mounts.container_user(options), 0o700)] * 2


def test_a_running_server_does_not_notice_how_its_folders_are_made() -> None:
    path = "/var/lib/llama-fleet/instances/default/slots"
    text = server_unit.render(dataclasses.replace(CPU, extra_options={"slot-save-path": path}), ["/s"])
    old = re.sub(
        r"^ExecStartPre=\+/bin/sh.*$", "ExecStartPre=+/usr/bin/install -d -m 0711 /v", text, flags=re.MULTILINE
    )
    old = re.sub(r"^ExecStartPre=/usr.*$", "", old, flags=re.MULTILINE)
    assert (old != text, server_unit.same_while_it_runs(old, text)) == (True, True)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("StartLimitIntervalSec=0", "StartLimitIntervalSec=300\nStartLimitBurst=5", True),
        ("RestartSteps=6\nRestartMaxDelaySec=60\n", "", True),
        ("RestartSec=5", "RestartSec=7", True),
        ("Wants=opt.mount", "RequiresMountsFor=/opt", True),
        ("DeviceAllow=/dev/dxg rw\n", "", True),
        ("# Written", "# Written long ago", True),
        ("DeviceAllow=/dev/nvidiactl rw\n", "", False),
        ("NoNewPrivileges=yes\n", "", False),
        ("ExecStart=", "ExecStart=/bin/", False),
        ("TimeoutStopSec=", "TimeoutStopSec=1", False),
        ("WantedBy=multi-user.target", "WantedBy=", False),
    ],
)
def test_what_a_running_server_does_not_notice(old: str, new: str, same: bool) -> None:
    text = unit_of("cuda")
    assert old in text
    assert server_unit.same_while_it_runs(text, text.replace(old, new)) is same
