# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Upgrade an instance from one real version of llama.cpp to the next, and go back.

LLAMA_FLEET_TEST_RELEASES is a folder with both.
"""

from __future__ import annotations

import json
import os
import pathlib
import ssl
import typing
import urllib.request

import pytest

from tests.server.host import KEY, PORT, RELEASES, Host

pytestmark = pytest.mark.e2e

FOLDER = pathlib.Path(os.environ.get("LLAMA_FLEET_TEST_RELEASES", ""))


@pytest.fixture(scope="module")
def host() -> typing.Iterator[Host]:
    made = Host(releases=FOLDER)
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def versions() -> list[str]:
    """Return the older release and the newer one."""
    manifests = {
        file.parent.name: json.loads(file.read_text(encoding="utf-8")) for file in FOLDER.glob("*/manifest.json")
    }
    older, newer = sorted(manifests, key=lambda name: "llama-cpp-python" not in manifests[name]["source"])
    assert manifests[older]["fingerprint_parts"]["source"] != manifests[newer]["fingerprint_parts"]["source"]
    return [older, newer]


def test_there_and_back(host: Host, versions: list[str]) -> None:
    older, newer = versions
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


def test_both_speak_tls(host: Host, versions: list[str], tmp_path: pathlib.Path) -> None:
    certificate = host.certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=tmp_path / "pem")
    request = urllib.request.Request(
        f"https://{host.address}:{PORT}/v1/models", headers={"Authorization": f"Bearer {KEY}"}
    )
    for version in versions:
        host.good(release=f"{RELEASES}/{version}", **certificate)
        with urllib.request.urlopen(request, timeout=30, context=trusting) as answer:
            assert json.load(answer)["data"]
        assert f"{RELEASES}/{version}/" in host.output(f"readlink /proc/{host.pid()}/exe")
