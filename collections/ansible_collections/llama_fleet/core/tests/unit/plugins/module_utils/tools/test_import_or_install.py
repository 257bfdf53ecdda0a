# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import contextlib
import os
import sys
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.model import hub_client
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import hub_pins, import_or_install, venv

if typing.TYPE_CHECKING:
    import pathlib

NAME = "llama_fleet_test_package"
WANTED = (f"{NAME}==1",)
PINS = venv.Pins({}, (), {})
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


class Installer:
    """A fake ensure_tools that installs a one-file package for the Python ``python`` and records its calls."""

    def __init__(self, python: str = PYTHON) -> None:
        self.python = python
        self.calls: list[tuple[pathlib.Path, list[str], str, str]] = []
        self.pins: list[venv.Pins] = []
        self.ready: set[pathlib.Path] = set()

    def ensure(
        self,
        root: pathlib.Path,
        requirements: typing.Sequence[str],
        pins: venv.Pins,
        index_url: str,
        variable: str,
        _progress: Progress,
    ) -> bool:
        self.pins.append(pins)
        self.calls.append((root, list(requirements), index_url, variable))
        packages = venv.folder(root) / "lib" / self.python / "site-packages"
        packages.mkdir(parents=True, exist_ok=True)
        for requirement in requirements:
            (packages / f"{requirement.partition('==')[0]}.py").write_text(f"WHERE = {str(root)!r}\n", encoding="utf-8")
        return True


@pytest.fixture
def installer(monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[Installer]:
    played = Installer()
    monkeypatch.setattr(venv, "ensure_tools", played.ensure)
    monkeypatch.setattr(venv, "tools_ready", lambda root, _requirements: root in played.ready)
    before = list(sys.path)
    yield played
    sys.modules.pop(NAME, None)
    assert sys.path == before


def borrow(root: pathlib.Path, keep: bool = True) -> typing.ContextManager[typing.Any]:
    return import_or_install.borrower(root, "https://index/simple", "llama_cpp_index_url", Progress(), PINS, keep)(
        NAME, WANTED
    )


def test_what_the_host_has_is_not_installed(tmp_path: pathlib.Path, installer: Installer) -> None:
    with import_or_install.borrower(tmp_path, "", "", Progress(), PINS)("json", ["json==1"]) as module:
        assert module.loads("1") == 1
    assert installer.calls == []


def test_what_is_missing_is_installed_below_the_root(tmp_path: pathlib.Path, installer: Installer) -> None:
    with borrow(tmp_path) as module:
        assert str(tmp_path) == module.WHERE
        assert sys.path[-1] == str(
            tmp_path / "venv" / "lib" / PYTHON / "site-packages"
        )  # the host's own packages come first
    assert installer.calls == [(tmp_path, list(WANTED), "https://index/simple", "llama_cpp_index_url")]


@pytest.mark.parametrize("ready", [False, True])
def test_without_keep_the_host_stays_as_it_is(tmp_path: pathlib.Path, installer: Installer, ready: bool) -> None:
    if ready:
        installer.ready.add(tmp_path)
    with borrow(tmp_path, keep=False) as module:
        (place,) = [call[0] for call in installer.calls]
        assert str(place) == module.WHERE
        assert place.exists()
    assert (place == tmp_path) is ready
    assert place.exists() is ready
    assert bool(os.listdir(tmp_path)) is ready


def test_an_environment_of_another_python(tmp_path: pathlib.Path, installer: Installer) -> None:
    installer.python = "python2.7"
    with (
        pytest.raises(
            ProblemError,
            match=(
                rf"expected one for {PYTHON}, which runs this module, found an environment for python2\.7\. Fix: "
                "Remove that folder"
            ),
        ),
        borrow(tmp_path),
    ):
        pass


def test_nothing_stays_on_the_path_after_a_failure(tmp_path: pathlib.Path, installer: Installer) -> None:
    with pytest.raises(ZeroDivisionError), borrow(tmp_path) as module:
        assert module
        raise ZeroDivisionError
    assert installer.calls


def test_a_package_that_was_not_brought(tmp_path: pathlib.Path, installer: Installer) -> None:
    with (
        pytest.raises(ModuleNotFoundError),
        import_or_install.borrower(tmp_path, "", "", Progress(), PINS)("llama_fleet_test_other", WANTED),
    ):
        pass
    assert installer.calls


def test_the_hubs_client_is_borrowed_with_its_settings(
    tmp_path: pathlib.Path, installer: Installer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_client, "_NAME", NAME)
    monkeypatch.setattr(hub_client, "HUB_CLIENT", WANTED)
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "0")
    guarded: list[tuple[str, str]] = []

    @contextlib.contextmanager
    def guard(client: typing.Any, endpoint: str) -> typing.Iterator[None]:
        guarded.append((client.WHERE, endpoint))
        yield

    monkeypatch.setattr(hub_client, "guarded", guard)
    with hub_client.hub_client(
        tmp_path, "https://index/simple", Progress(), keep=False, endpoint="https://hub"
    ) as client:
        assert str(tmp_path) != client.WHERE
        assert guarded == [(client.WHERE, "https://hub")]
        assert (os.environ["HF_HUB_DISABLE_TELEMETRY"], os.environ["HF_HUB_DISABLE_PROGRESS_BARS"]) == ("1", "1")
    assert [call[2:] for call in installer.calls] == [("https://index/simple", "gguf_model_index_url")]
    assert installer.pins == [hub_pins.PINS]
    assert os.listdir(tmp_path) == []
