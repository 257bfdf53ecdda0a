# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Boot a host whose model is on a disk that cannot be mounted, and mount it by hand after a minute."""

from __future__ import annotations

import pathlib
import time
import typing

import pytest

from tests.hosts import podman
from tests.server.host import MODELS, Host, wait_for

pytestmark = pytest.mark.e2e

DISK, LATE = "/srv/disk", "/srv/late"
MOUNT = f"""\
[Mount]
What=nothing
Where={LATE}
Type=ext4
[Install]
WantedBy=multi-user.target
"""


# systemd 252, which pauses for as long each time, and 257.
@pytest.fixture(params=podman.HOSTS, ids=["bookworm", "trixie"])
def host(request: pytest.FixtureRequest) -> typing.Iterator[Host]:
    host = Host(image=request.param)
    try:
        yield host
    finally:
        host.remove()


def test_a_model_that_comes_a_minute_after_the_boot_is_served(host: Host) -> None:
    model = f"{LATE}/{pathlib.PurePosixPath(host.model).name}"
    host.output(f"mkdir -p {DISK} {LATE} && cp {MODELS}/*.gguf {DISK}")
    host.output("cat > /etc/systemd/system/srv-late.mount", MOUNT)
    host.output(f"systemctl enable --quiet srv-late.mount && mount --bind {DISK} {LATE}")
    first = host.good(model=model)

    host.reboot()
    time.sleep(60)
    assert host.show("Result", unit="srv-late.mount") == "exit-code"
    assert host.show("ActiveState") in ("activating", "active")
    # Earlier units were never started after such a mount, and gave up after five starts without a mount.
    assert int(host.show("NRestarts")) >= 3
    # From systemd 254 on the pauses grow.
    grown = host.show("RestartUSecNext") not in ("5s", "")
    assert grown is not host.output("systemctl --version").startswith("systemd 252")

    host.output(f"mount --bind {DISK} {LATE}")
    wait_for(host.healthy, 180)
    assert "Paris" in host.says()
    again = host.good(model=model)
    assert (again["changed"], again["generation"]) == (False, first["generation"])
