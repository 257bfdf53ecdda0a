# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""An instance taken from one real version of llama.cpp to the next, and back. LLAMA_FLEET_TEST_RELEASES is a folder with both."""

from __future__ import annotations

import json
import os
import pathlib
import typing

import pytest

from tests.server.host import RELEASES, Host

pytestmark = pytest.mark.e2e

FOLDER = pathlib.Path(os.environ.get("LLAMA_FLEET_TEST_RELEASES", ""))


@pytest.fixture(scope="module")
def host() -> typing.Iterator[Host]:
    made = Host(releases=FOLDER)
    try:
        yield made
    finally:
        made.remove()


def test_there_and_back(host: Host) -> None:
    manifests = {file.parent.name: json.loads(file.read_text(encoding="utf-8")) for file in FOLDER.glob("*/manifest.json")}
    older, newer = sorted(manifests, key=lambda name: "llama-cpp-python" not in manifests[name]["source"])
    assert manifests[older]["fingerprint_parts"]["source"] != manifests[newer]["fingerprint_parts"]["source"]
    first = host.good(release=f"{RELEASES}/{older}")
    assert "Paris" in host.says()
    second = host.good(release=f"{RELEASES}/{newer}")
    assert (second["restarted"], second["changed_parts"]) == (True, ["llama_server_release"])
    assert "Paris" in host.says()
    assert f"{RELEASES}/{newer}/" in host.output(f"readlink /proc/{host.pid()}/exe")
    back = host.good(state="rolled_back")
    assert (back["restarted"], back["generation"]) == (True, first["generation"])
    assert "Paris" in host.says()
    assert f"{RELEASES}/{older}/" in host.output(f"readlink /proc/{host.pid()}/exe")
