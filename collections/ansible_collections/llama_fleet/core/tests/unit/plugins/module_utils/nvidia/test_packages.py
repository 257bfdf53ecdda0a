# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test detecting driver packages that the distribution is about to upgrade unattended."""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import packages as nvidia_packages
from ansible_collections.llama_fleet.core.tests.unit.fakes.gpu_host import FakeGpuHost, check, codes

if typing.TYPE_CHECKING:
    import pathlib

PACKAGE = "libnvidia-compute-580"
OLD, NEW = "580.65.06-0ubuntu0.24.04.1", "580.95.05-0ubuntu0.24.04.2"
DEFAULTS = """// Automatically upgrade packages from these (origin:archive) pairs
Unattended-Upgrade::Allowed-Origins {
        "${distro_id}:${distro_codename}";
        "${distro_id}:${distro_codename}-security";
//      "${distro_id}:${distro_codename}-updates";
};
Unattended-Upgrade::Package-Blacklist {
    // "linux-";
};
"""


def policy(old: str = OLD, new: str = NEW, pocket: str = "noble-security") -> str:
    """Return the output of ``apt-cache policy``."""
    return f"""{PACKAGE}:
  Installed: {old}
  Candidate: {new}
  Version table:
     {new} 500
        500 http://archive.example.org/ubuntu {pocket}/restricted amd64 Packages
 *** {old} 100
        100 /var/lib/dpkg/status
"""


@pytest.fixture
def fake(tmp_path: pathlib.Path) -> FakeGpuHost:
    """Return an Ubuntu host with an update for its driver and unattended-upgrades with default settings."""
    host = FakeGpuHost(tmp_path)
    host.healthy()
    host.write(
        "etc/apt/apt.conf.d/20auto-upgrades",
        'APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n',
    )
    host.write("etc/apt/apt.conf.d/50unattended-upgrades", DEFAULTS)
    status = (
        "Package: libc6\nStatus: install ok installed\nVersion: 2\n\nPackage: {}\nStatus: {} ok "
        "installed\nPriority: optional\n"
    )
    host.write("var/lib/dpkg/status", status.format(PACKAGE, "install"))
    host.program("unattended-upgrade", "exit 1")
    apt(host, policy())
    return host


def apt(host: FakeGpuHost, said: str, code: int = 0) -> None:
    host.write("policy.out", said)
    host.program("apt-cache", f"cat '{host.root}/policy.out'; exit {code}")


def test_a_driver_about_to_be_replaced(fake: FakeGpuHost) -> None:
    found = f"{PACKAGE} {OLD}, which unattended-upgrades is about to replace with {NEW}"
    check(
        fake.findings(),
        "unattended_upgrade",
        "warning",
        found,
        "match the loaded kernel module",
        f"apt-mark hold {PACKAGE}",
    )
    assert len(fake.findings()) == 1
    assert fake.examine().seen.usable
    assert fake.calls("apt-cache")[0] == f"apt-cache policy {PACKAGE}"
    assert fake.calls("unattended-upgrade") == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("etc/apt/apt.conf.d/99local", 'APT::Periodic::Unattended-Upgrade "0";\n'),
        ("etc/apt/apt.conf.d/20auto-upgrades", '// APT::Periodic::Unattended-Upgrade "1";\n'),
        (
            "etc/apt/apt.conf.d/51nvidia",
            'Unattended-Upgrade::Package-Blacklist {\n  "linux-";\n  "(lib)?nvidia";\n};\n',
        ),
        ("var/lib/dpkg/status", f"Package: {PACKAGE}\nStatus: hold ok installed\n"),
        ("var/lib/dpkg/status", f"Package: {PACKAGE}\nStatus: deinstall ok config-files\n"),
        ("var/lib/dpkg/status", "Package: libc6\nStatus: install ok installed\n"),
    ],
    ids=["switched off", "commented out", "kept back", "on hold", "removed", "other driver"],
)
def test_apt_is_not_asked_where_no_upgrade_is_possible(fake: FakeGpuHost, path: str, text: str) -> None:
    fake.write(path, text)
    assert codes(fake.findings()) == []
    assert fake.calls("apt-cache") == []


@pytest.mark.parametrize("program", ["apt-cache", "unattended-upgrade"])
def test_without_its_programs_there_is_nothing_to_fear(fake: FakeGpuHost, program: str) -> None:
    (fake.root / "usr/bin" / program).unlink()
    assert codes(fake.findings()) == []


def test_a_strange_pattern_keeps_nothing_back(fake: FakeGpuHost) -> None:
    fake.write("etc/apt/apt.conf.d/51nvidia", 'Unattended-Upgrade::Package-Blacklist { "*"; "(lib"; "nvidia"; };\n')
    assert codes(fake.findings()) == [("unattended_upgrade", "warning")]


@pytest.mark.parametrize(
    ("said", "settings", "count"),
    [
        (policy(), "", 1),
        (policy(new=OLD), "", 0),
        (policy(pocket="noble-updates"), "", 0),
        (policy(pocket="noble-updates"), '"${distro_id}:${distro_codename}-updates";', 1),
        (policy(pocket="noble"), "", 0),
        (
            policy(
                pocket=(
                    "noble-updates/restricted amd64 Packages\n        500 http://security.example.org/ubuntu "
                    "noble-security"
                )
            ),
            "",
            1,
        ),
        (policy(pocket="trixie"), '"origin=Debian,codename=${distro_codename},label=Debian";', 1),
        (policy(old="(none)"), "", 0),
        ("", "", 0),
        ("N: Unable to locate package\n", "", 0),
        (policy() + policy().replace("580:", "570:"), "", 2),
    ],
)
def test_only_what_unattended_upgrades_takes(said: str, settings: str, count: int) -> None:
    changes = nvidia_packages.parse_policy(said, settings)
    assert len(changes) == count
    assert changes[:1] == [(PACKAGE, OLD, NEW)][:count]


def test_a_failing_apt_is_no_problem_of_ours(fake: FakeGpuHost) -> None:
    apt(fake, "E: broken", 100)
    assert codes(fake.findings()) == []
