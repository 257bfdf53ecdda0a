# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test that a generation for a GPU fails its gate if it computes on the CPU.

A whole switch runs with real processes, whose open files the test controls.
"""

from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import processes as nvidia_processes
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.tests.unit.fakes import server as fake_server
from ansible_collections.llama_fleet.core.tests.unit.fakes.stage import Site, staged

if typing.TYPE_CHECKING:
    import pathlib

pytestmark = pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")
LOG = "/var/log/llama.log"


@pytest.fixture
def site(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[Site]:
    """Yield a site whose first generation, on the CPU, is in service."""
    with staged(tmp_path, monkeypatch) as made:
        made.run()
        yield made


def cuda(site: Site, **more: typing.Any) -> dict[str, typing.Any]:
    release = fake_server.release(site.folder, "cuda", gpus=1)
    return site.run(release=release, backend="cuda", **more)


def opens(monkeypatch: pytest.MonkeyPatch, *looks: typing.Sequence[str]) -> None:
    """Set the server's open files for the gate's first look, its second, and so on.

    A look at ports, which names /proc, sees the real files.
    """
    seen, left = processes.open_files, list(looks)

    def open_files(pid: int, proc: pathlib.Path | None = None) -> list[str]:
        return seen(pid, proc) if proc else list(left.pop(0) if len(left) > 1 else left[0])

    monkeypatch.setattr(processes, "open_files", open_files)


def lists(monkeypatch: pytest.MonkeyPatch, pid: typing.Callable[[], int]) -> None:
    monkeypatch.setattr(nvidia_processes, "compute_processes", lambda _run: [(str(pid()), "GPU-a", "500")])


def test_one_with_a_gpu_open_is_good(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    opens(monkeypatch, [LOG, "/dev/nvidiactl", "/dev/nvidia0"])
    result = cuda(site)
    assert (result["ready"], result["device"], result["pid"]) == (True, "CUDA0", site.systemd.pid)


def test_one_that_has_files_open_but_no_gpu_gives_way_to_the_old_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens(monkeypatch, [LOG])
    # The process's own open files count even against the driver's list.
    lists(monkeypatch, lambda: site.systemd.pid)
    with pytest.raises(
        ProblemError,
        match=r"it has no GPU open, though llama_server_backend is cuda[\s\S]*generation 1 is back in service",
    ):
        cuda(site)
    assert (len(site.servers()), site.run()["changed"]) == (1, False)


def test_one_of_which_nothing_can_be_seen_is_not_taken_for_good(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    opens(monkeypatch, [])
    lists(monkeypatch, lambda: 1)
    with pytest.raises(
        ProblemError,
        match=(
            r"cannot be seen by this user \(uid \d+\), nor does nvidia-smi list its process[\s\S]*generation 1 "
            r"is back"
        ),
    ):
        cuda(site)
    assert len(site.servers()) == 1


def test_where_nothing_can_be_seen_the_driver_may_tell(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    opens(monkeypatch, [])
    lists(monkeypatch, lambda: site.systemd.pid)
    first = cuda(site)
    assert first["ready"]
    again = site.run(release=str(site.folder / "cuda"), backend="cuda")
    assert (again["changed"], again["pid"]) == (False, first["pid"])


def test_one_that_lost_its_gpu_is_started_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    opens(monkeypatch, [LOG, "/dev/nvidia0"], [LOG], [LOG, "/dev/nvidia0"])
    before = cuda(site)["pid"]
    after = site.run(release=str(site.folder / "cuda"), backend="cuda")
    assert (after["restarted"], after["pid"] != before) == (True, True)


def test_a_router_has_no_gpu_open_itself(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    opens(monkeypatch, [LOG])
    (tmp_path / "models").mkdir()
    result = cuda(site, model="", allow=["router"], extra_options={"models-dir": str(tmp_path / "models")})
    assert (result["ready"], result["device"]) == (True, "CUDA0")
