# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.parsing.dataloader import DataLoader

from ansible_collections.llama_fleet.core.plugins.plugin_utils.builders import Builder, builder, named

HOSTS = {"h1": {"ansible_host": "192.0.2.1", "ansible_port": 2222}, "h2": {}, "h3": {"ansible_host": "192.0.2.3"}}
VARIABLES = {"hostvars": HOSTS, "groups": {"all": list(HOSTS), "builders": ["h1", "h2"]}}


def test_a_builder_is_told_by_its_address_too() -> None:
    assert [builder(host, VARIABLES) for host in HOSTS] == [
        Builder("h1", "192.0.2.1:2222"),
        Builder("h2", "h2:22"),
        Builder("h3", "192.0.2.3:22"),
    ]


@pytest.mark.parametrize(
    ("patterns", "hosts"),
    [
        ([], []),
        (["builders"], ["h1", "h2"]),
        (["builders", "!h1"], ["h2"]),
        (["h3"], ["h3"]),
        (["all"], ["h1", "h2", "h3"]),
    ],
)
def test_only_who_is_named_counts(patterns: list[str], hosts: list[str]) -> None:
    assert sorted(each.host for each in named(patterns, VARIABLES, DataLoader())) == hosts
