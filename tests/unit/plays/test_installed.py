# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The plays status and doctor of an installed collection: no clone, Ansible's default callback, real modules."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from llama_fleet import settings

PROGRAMS = pathlib.Path(sys.executable).parent
QUOTED = re.compile(r'^ +"(.*?)",?$', re.MULTILINE)


class Site:
    """An empty folder with the installed collection and one host, which is this machine."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.host = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "llama_fleet_asks_for_newest": False,
            "llama_server_root": str(folder / "etc"),
            "llama_server_runtime_root": str(folder / "run"),
            "llama_server_instances": {"chat": {}},
            "llama_cpp_source": str(folder / "missing-source"),
            "llama_cpp_method": "source",
            "gguf_model_source": str(folder / "missing.gguf"),
            "nvidia_driver_gpu": "none",
        }

    def call(self, program: str, *arguments: object, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run ``program`` of Ansible in the folder, with nothing of the clone in its environment."""
        kept = {
            name: text for name, text in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON", "LLAMA_"))
        }
        environment = {
            **kept,
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder / "collections"),
            **more,
        }
        command = [str(PROGRAMS / program), *map(str, arguments)]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def play(self, name: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run a play of the installed collection."""
        inventory = {"all": {"hosts": {"h1": self.host}}}
        (self.folder / "inv.json").write_text(json.dumps(inventory), encoding="utf-8")
        return self.call("ansible-playbook", f"llama_fleet.core.{name}", "-i", "inv.json", **more)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("installed")
    site = Site(folder / "site")
    site.folder.mkdir()
    built = site.call("ansible-galaxy", "collection", "build", settings.COLLECTION, "--output-path", folder)
    assert built.returncode == 0, built.stderr
    [archive] = folder.glob("*.tar.gz")
    collections = site.folder / "collections"
    put = site.call("ansible-galaxy", "collection", "install", "--offline", archive, "-p", collections)
    assert put.returncode == 0, put.stderr
    return site


def test_status_prints_the_table_and_fails(site: Site) -> None:
    done = site.play("status")
    assert done.returncode == 2
    table = QUOTED.findall(done.stdout)
    assert table == ["INSTANCE  STATE", "chat      absent"]
    assert "chat: absent" in done.stdout


def test_doctor_prints_the_table_and_fails(site: Site) -> None:
    done = site.play("doctor")
    assert done.returncode == 2
    title, *rows = QUOTED.findall(done.stdout)
    assert title.split() == ["CHECK", "FOUND"]
    assert [row for row in rows if row.startswith("gguf_model_source ") and "  error  " in row]


def test_a_program_with_a_table_of_its_own_gets_no_second_one(site: Site) -> None:
    done = site.play("status", LLAMA_FLEET_SHOWS_TABLES="1")
    assert done.returncode == 2
    assert QUOTED.findall(done.stdout) == []
