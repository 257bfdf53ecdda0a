# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import hashlib
import json

from ansible_collections.llama_fleet.core.plugins.module_utils.gateway import contents
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.options import Options
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.servers import Model

KEY = "a-key-of-the-tests"
HASH = hashlib.sha256(KEY.encode()).hexdigest()


def test_a_key_and_its_digest_are_the_same() -> None:
    assert contents.digest(KEY) == contents.digest(f"sha256:{HASH}") == HASH


def test_every_file_is_made_of_the_options_and_the_models() -> None:
    options = Options(
        api_keys={"bob": KEY}, limits={"default": {"concurrent": 8}, "bob": {"per_minute": 60, "concurrent": 0}}
    )
    made = contents.contents(options, [Model("alpha", (), ("gpt-4o",))])
    assert made[contents.KEYS] == f"{HASH} bob\n"
    assert made[contents.NAMES] == "alpha model-alpha\ngpt-4o model-alpha\n"
    assert made[contents.CONCURRENT] == "bob 0\ndefault 8\n"
    assert made[contents.PER_MINUTE] == "bob 60\n"
    listed = json.loads(contents.entries(made[contents.LISTING])[contents.ALL])
    assert [model["id"] for model in listed["data"]] == ["alpha", "gpt-4o"]
    assert 'Map.new("/etc/llama-fleet/gateway/holds.map"' in made[contents.SCRIPT]


def test_entries_reads_what_a_map_holds() -> None:
    assert contents.entries("a 1\nb 2 3\n") == {"a": "1", "b": "2 3"}
