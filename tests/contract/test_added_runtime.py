# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A new runtime is one file and one line: ``docs/make_reference.py`` makes everything else that names it."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import typing

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORE = pathlib.Path("collections/ansible_collections/llama_fleet/core")
HALL = CORE / "plugins/module_utils/runtimes.py"
FILE = CORE / "plugins/module_utils/server/runtimes/jail.py"
LINE = '    "jail": CDI,\n'
GENERATED = ("# Made by docs/make_reference.py", "<!-- Made by")
CLASS = """# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
\"\"\"Run an instance as a prisoner.\"\"\"

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.process import ProcessRuntime


@dataclasses.dataclass
class JailRuntime(ProcessRuntime):
    \"\"\"A prisoner of the host.\"\"\"

    name: typing.ClassVar[str] = "jail"
    automatic: typing.ClassVar[bool] = False
    own_control_group: typing.ClassVar[bool] = True
"""
ASK = """
import json
from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import argument_spec
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia.requirements import Requirements
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import registry
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options
print(json.dumps({
    "class": registry.named("jail").__name__,
    "choices": [argument_spec(options)["runtime"]["choices"][-1] for options in (Requirements, Options)],
    "access": Requirements(runtime="jail").access,
}))
"""


class Clone:
    """A copy of the repository's sources that a runtime is added to."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        for folder in ("docs", "src", str(CORE)):
            shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", "tests"))

    def run(self, *command: str) -> str:
        environment = {
            **os.environ,
            "PYTHONPATH": f"{self.root / 'src'}:{self.root / 'collections'}",
            "ANSIBLE_COLLECTIONS_PATH": str(self.root / "collections"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def texts(self) -> dict[str, str]:
        """Return every text of the clone by its path."""
        files = [path for path in self.root.rglob("*") if path.suffix in (".py", ".yml", ".md")]
        return {str(path.relative_to(self.root)): path.read_text(encoding="utf-8") for path in files}

    def documented(self, module: str) -> dict[str, typing.Any]:
        """Return what ansible-doc says about the option ``runtime`` of a module."""
        name = f"llama_fleet.core.{module}"
        documents = json.loads(self.run("ansible-doc", "--json", name))
        return typing.cast("dict[str, typing.Any]", documents[name]["doc"]["options"]["runtime"])

    def choices(self, role: str) -> list[str]:
        """Return the values of a role's variable, as its generated argument spec has them."""
        specs = yaml.safe_load((self.root / CORE / f"roles/{role}/meta/argument_specs.yml").read_text("utf-8"))
        return list(specs["argument_specs"]["main"]["options"][f"{role}_runtime"]["choices"])


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone(tmp_path_factory.mktemp("clone"))


def test_a_runtime_is_one_file_and_one_line(before: Clone) -> None:
    old = before.texts()
    (before.root / FILE).write_text(CLASS, encoding="utf-8")
    hall = old[str(HALL)]
    (before.root / HALL).write_text(hall.replace('    "exec": PROCESS,\n', f'    "exec": PROCESS,\n{LINE}'), "utf-8")
    before.run(sys.executable, "docs/make_reference.py")
    changed = {path: text for path, text in before.texts().items() if old.get(path) != text}
    by_hand = {path for path, text in changed.items() if GENERATED[0] not in text and path != "docs/reference.md"}
    assert by_hand == {str(FILE), str(HALL)}
    assert [line for line in changed[str(HALL)].splitlines(True) if line not in hall.splitlines(True)] == [LINE]
    asked = json.loads(before.run(sys.executable, "-c", ASK))
    assert asked == {"class": "JailRuntime", "choices": ["jail", "jail"], "access": "cdi"}
    server, driver = before.documented("llama_server"), before.documented("nvidia_driver_info")
    assert (server["choices"][-1], driver["choices"][-1]) == ("jail", "jail")
    assert "V(jail): A prisoner of the host." in server["description"]
    assert (before.choices("llama_server")[-1], before.choices("nvidia_driver")[-1]) == ("jail", "jail")
    assert "jail: A prisoner of the host." in changed["docs/reference.md"]
