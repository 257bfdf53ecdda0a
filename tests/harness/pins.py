"""``python -m tests.harness.pins`` locks the tools that hosts install, in module_utils/tools/*_pins.py.

Each tool is resolved for every Linux. Of each release the wheels for the supported Pythons are kept, with their sha256
from the package index. Run it again after a change of a version in tools/venv.py; a contract test checks that.
"""

from __future__ import annotations

import collections
import datetime as dt
import itertools
import pprint
import re
import subprocess
import sys
import typing

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import index as package_index
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import Package
from ansible_collections.llama_fleet.core.plugins.module_utils.tools import venv as tools_venv
from tests.harness.context import COLLECTION

if typing.TYPE_CHECKING:
    from packaging.tags import Tag

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
MACHINES = ("x86_64", "aarch64")
FOLDER = COLLECTION / "plugins" / "module_utils" / "tools"
BUILD = (*tools_venv.BUILD_TOOLS, *tools_venv.COMPILER_CACHE, *tools_venv.ARCHIVER)
# Each lock with its description and its tools. There are two, because a host gets only the one that its module needs.
LOCKS = {
    "build_pins": ("the tools that hosts build and unpack releases with", BUILD),
    "hub_pins": ("the Hub's client that hosts install", tools_venv.HUB_CLIENT),
}
_HEAD = '''\
# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The lock of {what}. Made by ``python -m tests.harness.pins``."""

from __future__ import annotations

from ansible_collections.llama_fleet.core.plugins.module_utils.tools.venv import Pins

# Date of the index query.
MADE = {made!r}
PINS = Pins(
    brings={brings},
    releases={pins},
    wheels={wheels},
)
'''


def environments() -> list[dict[str, str]]:
    """Return the marker environment of each supported host."""
    return [
        {
            "implementation_name": "cpython",
            "implementation_version": f"{python}.9",
            "os_name": "posix",
            "platform_machine": machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{python}.9",
            "python_version": python,
            "sys_platform": "linux",
            "extra": "",
        }
        for python, machine in itertools.product(PYTHONS, MACHINES)
    ]


def main() -> int:
    """Write the locks."""
    for name, (what, roots) in LOCKS.items():
        target = FOLDER / f"{name}.py"
        target.write_text(lock(what, roots), encoding="utf-8")
        subprocess.run(["ruff", "format", "-q", target], check=True)
    return 0


def lock(what: str, roots: typing.Iterable[str]) -> str:
    """Return the text of the lock of the tools ``roots``; ``what`` describes them."""
    brings: dict[str, tuple[str, ...]] = {}
    found: dict[tuple[str, str], str] = {}
    for root in roots:
        resolved = _resolved(root)
        brings[root] = tuple(sorted({name for name, _version, _marker in resolved}))
        found |= {(name, version): marker for name, version, marker in resolved}
    versions = collections.Counter(name for name, _version in found)
    # A marker that is true on every supported host is redundant.
    pins = [
        (name, version, marker if versions[name] > 1 or not _always(marker) else "")
        for (name, version), marker in sorted(found.items())
    ]
    wheels = {f"{name}=={version}": _wheels(name, version) for name, version in sorted(found)}
    texts = {"brings": brings, "pins": pins, "wheels": wheels}
    shown = {name: pprint.pformat(value, width=150, sort_dicts=False) for name, value in texts.items()}
    today = dt.datetime.now(dt.UTC).date().isoformat()
    # In two halves, so that the formatter can break a long line; it joins short ones.
    shown["wheels"] = re.sub(r"'([0-9a-f]{32})([0-9a-f]{32})'", r"('\1' '\2')", shown["wheels"])
    return _HEAD.format(what=what, made=today, **shown)


def _resolved(root: str) -> list[tuple[str, str, str]]:
    """Return name, version and marker of a tool and its dependencies on the supported hosts."""
    command = [
        "uv",
        "pip",
        "compile",
        "-q",
        "--universal",
        "--python-version",
        PYTHONS[0],
        "--no-header",
        "--no-annotate",
        "--only-binary",
        ":all:",
        "-",
    ]
    lines = subprocess.run(command, input=root, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    requirements = [Requirement(line) for line in lines]
    return [
        (canonicalize_name(one.name), next(iter(one.specifier)).version, str(one.marker or ""))
        for one in requirements
        if one.marker is None or any(one.marker.evaluate(environment) for environment in environments())
    ]


def _always(marker: str) -> bool:
    return not marker or all(Marker(marker).evaluate(environment) for environment in environments())


def _wheels(name: str, version: str) -> dict[str, str]:
    """Return the sha256 of each wheel for Linux by its tag, as written in the file's name."""
    index, wheels = package_index.index_url(), {}
    for file in package_index._listing(index, Package(name, version), "package index"):
        if not file.name.endswith(".whl"):
            continue
        _project, its_version, _build, tags = parse_wheel_filename(file.name)
        if str(its_version) == version and any(_is_wanted(tag) for tag in tags):
            wheels["-".join(file.name.removesuffix(".whl").split("-")[-3:])] = file.sha256
    if not wheels or not all(wheels.values()):
        raise SystemExit(f"{index} has no wheels with a sha256 of {name} {version}")
    return dict(sorted(wheels.items()))


def _is_wanted(tag: Tag) -> bool:
    """Return whether a wheel fits: any Linux machine if it is pure Python, the supported ones if it is compiled."""
    if tag.platform != "any" and "linux" not in tag.platform:
        return False
    if tag.abi in ("none", "abi3"):
        return True
    return (
        tag.interpreter in {f"cp{python.replace('.', '')}" for python in PYTHONS}
        and tag.abi == tag.interpreter
        and tag.platform.endswith(MACHINES)
    )


if __name__ == "__main__":
    sys.exit(main())
