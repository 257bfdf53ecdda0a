# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""An index that has something else for a host's tools than what is locked, asked by the real pip."""

from __future__ import annotations

import hashlib
import pathlib
import re
import subprocess
import typing
import zipfile

import pip
import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv as tools_venv
from tests.hub import Fault

if typing.TYPE_CHECKING:
    from tests.hub import Hub

OTHER = "which no wheel has that this version of llama-fleet pins"


def wheel(folder: pathlib.Path, version: str = "1.0", says: str = "right", needs: str = "") -> pathlib.Path:
    """Write a wheel of the project ``tool`` whose SAYS is ``says``; the same arguments give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"tool-{version}-py3-none-any.whl"
    about = f"tool-{version}.dist-info"
    needed = f"Requires-Dist: {needs}\n" if needs else ""
    members = {
        "tool.py": f"SAYS = {says!r}\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: tool\nVersion: {version}\n{needed}",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return path


@pytest.fixture
def install(hub: Hub, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> typing.Callable[..., str]:
    """Installs the tool as it is locked, from the hub's index; returns what is installed then says."""
    locked = wheel(tmp_path / "locked")

    def run(needs: str = "") -> str:
        sums = {
            "py3-none-any": hashlib.sha256(
                (wheel(tmp_path / "locked", needs=needs) if needs else locked).read_bytes()
            ).hexdigest()
        }
        pins = tools_venv.Pins({"tool==1.0": ("tool",)}, [("tool", "1.0", "")], {"tool==1.0": sums})
        tools_venv.ensure_tools(tmp_path / "root", ["tool==1.0"], pins, f"{hub.url}/simple", "llama_cpp_index_url")
        python = tools_venv.folder(tmp_path / "root") / "bin" / "python"
        return subprocess.run(
            [python, "-c", "import tool; print(tool.SAYS)"], stdout=subprocess.PIPE, check=True, text=True
        ).stdout.strip()

    # pip's own wheel comes with a sum as well; here the one of the tests does.
    monkeypatch.setattr(tools_venv, "pip_folder", lambda *_: pathlib.Path(pip.__file__).parents[1])
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return run


def installed(tmp_path: pathlib.Path) -> list[str]:
    """Return the tool's files in the virtual environment."""
    return [path.name for path in tools_venv.folder(tmp_path / "root").rglob("tool*") if path.name != tools_venv.STAMP]


def test_the_locked_wheel_is_installed(hub: Hub, install: typing.Callable[..., str]) -> None:
    wheel(hub.root / "simple")
    assert install() == "right"


def other_bytes(hub: Hub) -> None:
    """With the sum of the other bytes on the index's page: it lies all the way."""
    wheel(hub.root / "simple", says="wrong")


def spoilt_on_the_way(hub: Hub) -> None:
    path = wheel(hub.root / "simple")
    hub.faults[path.name] = Fault(flip_at=40)


def another_version(hub: Hub) -> None:
    wheel(hub.root / "simple", version="1.1", says="wrong")


def a_page_for_people(hub: Hub) -> None:
    path = wheel(hub.root / "simple")
    hub.faults[path.name] = Fault(html=True)


BEHAVIOURS: dict[str, tuple[typing.Callable[[Hub], None], str]] = {
    "other bytes": (other_bytes, OTHER),
    "spoilt on the way": (spoilt_on_the_way, OTHER),
    "another version": (another_version, "No matching distribution found for tool==1.0"),
    "a page for people": (a_page_for_people, OTHER),
}


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_anything_else_is_refused_with_one_sentence(
    name: str, hub: Hub, install: typing.Callable[..., str], tmp_path: pathlib.Path
) -> None:
    prepare, sentence = BEHAVIOURS[name]
    prepare(hub)
    with pytest.raises(ProblemError, match=sentence) as caught:
        install()
    assert len(caught.value.problems) == 1
    assert re.match("llama_cpp_index_url: expected wheels .+, found ", str(caught.value))
    assert installed(tmp_path) == []
    assert not tools_venv.tools_ready(tmp_path / "root", ["tool==1.0"])


def test_what_a_wheel_brings_along_beside_the_lock_is_refused(
    hub: Hub, install: typing.Callable[..., str], tmp_path: pathlib.Path
) -> None:
    wheel(hub.root / "simple", needs="further")
    (hub.root / "simple" / "further-1.0-py3-none-any.whl").write_bytes(wheel(tmp_path / "other").read_bytes())
    with pytest.raises(ProblemError, match="from pip"):
        install("further")
    assert installed(tmp_path) == []
    assert not [request for request in hub.settle() if request.path.endswith("further-1.0-py3-none-any.whl")]
