# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The play of a container's start: wired as the one for hosts, and a whole start with it outside of a container."""

import json
import os
import pathlib
import platform
import subprocess
import sys
import typing

import pytest
import yaml

from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import options as llama_cpp_options
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store as release_store
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import Plain
from ansible_collections.llama_fleet.core.tests.unit.fakes import server as fake_server
from ansible_collections.llama_fleet.core.tests.unit.module_runs import free_port
from llama_fleet import settings
from tests.unit import imports
from tests.unit.container.fake_volume import SOURCE, Volume

COMMIT = "c1" * 20
START = "import sys\nfrom llama_fleet.container import entrypoint\nsys.exit(entrypoint.main())\n"


def play(name: str) -> dict[str, typing.Any]:
    (content,) = yaml.safe_load((settings.COLLECTION / "playbooks" / f"{name}.yml").read_text(encoding="utf-8"))
    return dict(content)


def test_it_is_wired_as_the_play_for_hosts() -> None:
    assert play("container")["vars_files"] == play("site")["vars_files"] == ["vars/wired.yml"]
    assert [name for name in play("container")["vars"] if not name.startswith("llama_fleet_")] == []


@pytest.fixture
def volume(tmp_path: pathlib.Path) -> Volume:
    """Volumes with a release for this machine, whose server starts in a moment, and a model that is only a header."""
    made = Volume(tmp_path)
    made.releases.mkdir(parents=True)
    release = pathlib.Path(fake_server.release(made.releases, f"b1-{'fe' * 6}"))
    target = llama_cpp_options.Target("cpu", "native", platform.machine())
    parts = {
        "backend": "cpu",
        "machine": target.machine,
        "cuda_architectures": [],
        "cpu_features": llama_cpp_options.cpu_features(pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")),
        "cmake_options": llama_cpp_options.cmake_options(target, "b1", COMMIT, True, {}),
    }
    manifest = files.read_json(release / "manifest.json", Plain()) or {}
    (release / "manifest.json").unlink()
    more = {
        "build": "b1",
        "commit": COMMIT,
        "fingerprint": "fe" * 32,
        "fingerprint_parts": parts,
        "source": SOURCE.removeprefix("git+"),
    }
    files.write_json(release / "manifest.json", {**manifest, **more, **release_store.describe(release)})
    fake_server.model(made.model)
    return made


def serve(volume: Volume, *arguments: str, status: int = -15, **environment: str) -> list[str]:
    """Start, wait until it serves, stop; what the start said.

    It ends with ``status``, by itself where that is not our signal's.
    """
    own = {"PATH": os.environ["PATH"], "PYTHONPATH": imports.PYTHONPATH}
    given = {
        "MODEL": str(volume.model),
        "LLAMA_CPP_SOURCE": SOURCE,
        "LLAMA_CPP_UPDATE": "missing",
        "PORT": str(free_port()),
        "PARALLEL": "1",
        "CTX_SIZE": "256",
    }
    command = [sys.executable, "-c", volume.patches() + START, *arguments]
    environment = {**own, **given, "LLAMA_FLEET_LOG": "json", "LLAMA_SERVER_CACHE_RAM": "0", **environment}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, encoding="utf-8") as process:
        told = []
        for line in typing.cast("typing.IO[str]", process.stderr):
            told.append(line.rstrip())
            if line.startswith("loading "):  # the server's own word
                process.terminate()
    assert process.returncode == status, told
    return told


def test_a_start_outside_of_a_container_and_one_more(volume: Volume) -> None:
    """No repository answers at that address:

    ``missing`` asks none. The home is nobody's, as that of an arbitrary user.
    """
    first = serve(volume, HOME=str(volume.state / "none"))
    events = [json.loads(line) for line in first[:-1]]
    warned = [event["text"] for event in events if event["event"] in ("warning", "error")]
    # pytest's folders are closed to the user that root's server would have.
    as_root = ["llama-server runs as root"] if os.geteuid() == 0 else []
    assert len(warned) == len(as_root) + 1
    assert all(
        text.startswith(begin)
        for text, begin in zip(warned, [*as_root, "Every client that reaches port "], strict=True)
    )
    stages = [event["role"] for event in events if event["event"] == "stage"]
    assert stages == ["nvidia_driver", "llama_cpp", "gguf_model", "llama_server", "gguf_model", "llama_server"]
    assert events[-2]["text"].endswith("3 module calls")
    manifest = json.loads((volume.instance / "current" / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["good"], manifest["speed"], manifest["build"]) == (True, fake_server.SPEED, "b1")
    assert [path.name for path in volume.models.iterdir() if not path.name.startswith(".")] != []
    assert {path.name for path in volume.state.iterdir()} <= {
        "converged.json",
        "generations.json",
        "etc",
        "locks",
        "models",
        "opt",
        "run",
        "cache",
    }
    port = manifest["environment"]["LLAMA_ARG_PORT"]
    second = serve(volume, PORT=port, HOME="/elsewhere")
    told = [json.loads(line)["text"] for line in second[:-1]]
    assert told == ["Nothing has changed since the last start: generation 1, b1, tiny.gguf", warned[-1]]


def test_no_option_reaches_a_server_past_the_door(volume: Volume) -> None:
    told = serve(
        volume,
        "--path",
        "/",
        status=1,
        LLAMA_ARG_MODEL="other.gguf",
        LLAMA_ARG_TOOLS="all",
        LLAMA_SERVER_EXTRA_OPTIONS="of-no-release=1",
    )
    wrong = "\n".join(json.loads(line)["text"] for line in told if '"error"' in line)
    for said in (
        "path, which gives files",
        "Set llama_server_model instead",
        "name tools in llama_server_allow",
        "expected an option of this release, found of-no-release.",
    ):
        assert said in wrong
    assert not (volume.instance / "current").exists()
