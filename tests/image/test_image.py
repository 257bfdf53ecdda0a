# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Use the container image as its users do: built, started, asked, restarted on the same volumes, stopped.

``tests/run image`` makes what is needed: the base image, and the content of the test hub, which stands in for the Hub
and the package index. The tests build on each other, in order. Every container runs as a user that the image does not
know, with a read-only root and without capabilities.
"""

from __future__ import annotations

import concurrent.futures
import json
import typing

import huggingface_hub
import openai
import pytest

from ansible_collections.llama_fleet.core.tests.unit.module_runs import free_port
from tests.image import containers
from tests.image.containers import Container, Engine

if typing.TYPE_CHECKING:
    import pathlib

    from tests.hub import Hub

MIB = 1 << 20
SETTINGS = {
    "MODEL": containers.MODEL,
    "PARALLEL": "2",
    "CTX_SIZE": "1024",
    "LLAMA_CPP_SOURCE": containers.default_source(),
}


@pytest.fixture(scope="module")
def engine(hub: Hub, image: str) -> typing.Iterator[Engine]:
    engine = Engine(hub, image, **SETTINGS)
    yield engine
    engine.remove()


@pytest.fixture(scope="module")
def first(engine: Engine) -> Container:
    return engine.start()


@pytest.fixture(scope="module")
def config(image: str) -> dict[str, typing.Any]:
    return dict(json.loads(containers.output("podman", "image", "inspect", image))[0])


def test_it_is_small(config: dict[str, typing.Any]) -> None:
    assert config["Size"] < 450 * MIB


def test_it_keeps_the_contract(config: dict[str, typing.Any]) -> None:
    found = config["Config"]
    assert set(found["Volumes"]) == {"/models", "/var/lib/llama-fleet"}
    assert set(found["ExposedPorts"]) == {"8080/tcp"}
    assert config["Healthcheck"]["Test"][0] == "CMD"
    user, _mark, group = found["User"].partition(":")
    assert int(user) > 0
    assert int(group) > 0


def test_it_has_no_program_that_makes_its_user_another_one(image: str) -> None:
    # As root, who may look everywhere.
    words = (
        "podman",
        "run",
        "--rm",
        "--network",
        "none",
        "--user",
        "0",
        "--entrypoint",
        "find",
        image,
        "/",
        "-xdev",
        "-type",
        "f",
        "-perm",
        "/6000",
    )
    assert containers.output(*words) == ""


def test_it_says_what_it_is_made_of(image: str) -> None:
    """Check the SBOM: valid SPDX 2.3, with everything that dpkg and the Python environment know."""
    sbom = json.loads(containers.inside(image, "cat /usr/share/llama-fleet/sbom.spdx.json"))
    assert (sbom["spdxVersion"], sbom["dataLicense"], sbom["SPDXID"]) == ("SPDX-2.3", "CC0-1.0", "SPDXRef-DOCUMENT")
    assert {"name", "documentNamespace", "creationInfo", "packages", "relationships"} <= set(sbom)
    assert all(
        {"SPDXID", "name", "versionInfo", "downloadLocation", "externalRefs"} <= set(package)
        for package in sbom["packages"]
    )
    purls = {package["externalRefs"][0]["referenceLocator"].partition("?")[0] for package in sbom["packages"]}
    installed = containers.inside(image, "dpkg-query --show --showformat '${Package}\\n'").split()
    assert {
        name
        for name in installed
        if not any(purl.startswith(f"pkg:deb/debian/{name.replace('+', '%2B')}@") for purl in purls)
    } == set()
    wheels = "ls -d /usr/lib/llama-fleet/venv/lib/python3.*/site-packages/*.dist-info | wc -l"
    assert sum(purl.startswith("pkg:pypi/") for purl in purls) == int(containers.inside(image, wheels))
    known = {package["SPDXID"] for package in sbom["packages"]}
    assert len(known) == len(sbom["packages"])
    assert {each["relatedSpdxElement"] for each in sbom["relationships"]} == known


def test_without_a_model_it_says_what_is_missing(engine: Engine) -> None:
    container = engine.start(MODEL="")
    assert container.wait_until_gone() == 2
    assert "MODEL: expected owner/repo" in container.logs()
    assert "Traceback" not in container.logs()


def test_every_mistyped_variable_is_named_with_the_right_one(engine: Engine) -> None:
    container = engine.start(LLAMA_SERVER_PROT="9000", CTX_SIZE="4k")
    assert container.wait_until_gone() == 2
    assert (
        "LLAMA_SERVER_PROT: expected a role's variable in capitals, found a name that no role has" in container.logs()
    )
    assert "LLAMA_SERVER_PORT" in container.logs()
    assert "CTX_SIZE: expected a whole number, found '4k'" in container.logs()


def test_sigterm_ends_a_start(engine: Engine) -> None:
    container = engine.start()
    container.wait_until_logged("Plan the release")
    assert container.healthcheck()[0] != 0
    assert container.stop() == 143


def test_it_builds_fetches_and_answers(first: Container) -> None:
    first.wait_until_ready()
    assert "Paris" in first.ask()
    assert "building llama.cpp" in first.logs()
    assert "llama-server" in [process["Name"] for process in first.processes()]


def test_its_processes_may_do_nothing(first: Container) -> None:
    for status in first.processes():
        assert status["Uid"].split() == ["4242"] * 4
        assert [status[name] for name in ("CapEff", "CapBnd", "CapPrm", "NoNewPrivs")] == ["0" * 16] * 3 + ["1"]


def test_models_lie_in_their_volume_directly(first: Container) -> None:
    repository = containers.MODEL.partition(":")[0]
    assert (
        containers.output("podman", "exec", first.name, "sh", "-c", f"ls /models/{repository}/*/*.gguf | wc -l").strip()
        == "3"
    )


def test_it_is_healthy(first: Container) -> None:
    assert first.healthcheck()[0] == 0


def test_the_openai_client_talks_to_it(first: Container) -> None:
    with openai.OpenAI(base_url=f"{first.url}/v1", api_key="none", timeout=120) as client:
        stream = client.chat.completions.create(
            model="any",
            messages=[{"role": "user", "content": containers.QUESTION}],
            max_tokens=32,
            temperature=0,
            stream=True,
        )
        assert "Paris" in "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        text = (
            client.completions.create(model="any", prompt="The capital of France is", max_tokens=8, temperature=0)
            .choices[0]
            .text
        )
        assert "Paris" in text

        def one(number: int) -> int:
            answer = client.completions.create(
                model="any", prompt=f"{number}, {number + 1},", max_tokens=4, temperature=0
            )
            return answer.usage.completion_tokens if answer.usage else 0

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            assert list(pool.map(one, range(16))) == [4] * 16


def test_sigterm_stops_it(first: Container) -> None:
    assert first.stop() in (0, 143)


def test_a_restart_compiles_and_downloads_nothing_and_does_without_ansible(
    engine: Engine, hub: Hub, first: Container
) -> None:
    assert first.state()[0] == "exited"
    requests = len(hub.settle())
    # Python lists every module that it imports.
    container = engine.start(PYTHONPROFILEIMPORTTIME="1").wait_until_ready()
    assert "Paris" in container.ask()
    assert hub.settle()[requests:] == []
    logs = container.logs()
    assert "Nothing has changed since the last start" in logs
    assert "llama_fleet.container.record" in logs
    imported = {
        line.rpartition("|")[2].strip().partition(".")[0]
        for line in logs.splitlines()
        if line.startswith("import time:")
    }
    assert imported & {"ansible", "ansible_runner", "yaml", "huggingface_hub"} == set()
    assert container.healthcheck()[0] == 0
    container.stop()


@pytest.mark.usefixtures("first")
def test_another_context_is_a_new_generation_and_no_more(engine: Engine, hub: Hub) -> None:
    requests = len(hub.settle())
    container = engine.start(CTX_SIZE="512").wait_until_ready()
    slots = container.get("/slots")
    assert [slot["n_ctx"] for slot in slots] == [512, 512]
    assert hub.settle()[requests:] == []
    assert "building" not in container.logs()
    assert "fetching" not in container.logs()
    container.stop()


@pytest.mark.usefixtures("first")
def test_flags_and_upstreams_own_variables_reach_the_server(engine: Engine) -> None:
    settings = {"LLAMA_SERVER_ALIAS": "mine", "MAX_TOKENS": "3", "LLAMA_ARG_TEMPERATURE": "0.25"}
    container = engine.start(flags=("--top-k", "7"), CTX_SIZE="512", **settings).wait_until_ready()
    sampling = container.get("/props")["default_generation_settings"]["params"]
    assert (sampling["top_k"], sampling["temperature"]) == (7, 0.25)
    assert "mine" in container.get("/v1/models")["data"][0]["aliases"]
    with openai.OpenAI(base_url=f"{container.url}/v1", api_key="none", timeout=120) as client:
        answer = client.completions.create(model="mine", prompt="One, two,", temperature=0)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3
    container.stop()


@pytest.mark.usefixtures("first")
def test_llama_servers_own_line_starts_it_without_a_variable(engine: Engine, hub: Hub) -> None:
    """The options of the official image, and the health check that the guide says to write."""
    requests = len(hub.settle())
    repository = containers.MODEL.partition(":")[0]
    path = f"/models/{repository}/{hub.repos.commit(repository)}/SmolLM2-135M-Instruct-Q4_1-00001-of-00003.gguf"
    check = "/usr/lib/llama-fleet/venv/bin/python -m llama_fleet.container.health"
    line = ("--model", path, "--host", "127.0.0.1", "--port", str(free_port()), "--ctx-size", "0", "-np", "2")
    unset = dict.fromkeys(("MODEL", "PORT", "PARALLEL", "CTX_SIZE"), "")
    container = engine.start("--health-cmd", check, flags=line, **unset)
    container = Container(container.name, int(line[5])).wait_until_ready()
    assert [slot["n_ctx"] for slot in container.get("/slots")] == [8192, 8192], "the context of the model's training"
    assert "Paris" in container.ask()
    assert container.healthcheck()[0] == 0
    assert hub.settle()[requests:] == []
    container.stop()


@pytest.mark.usefixtures("first")
def test_a_model_in_the_cache_of_the_hubs_client_is_copied_without_a_request(
    engine: Engine, hub: Hub, tmp_path: pathlib.Path
) -> None:
    cache = tmp_path / "hf"
    repository = containers.MODEL.partition(":")[0]
    for number in (1, 2, 3):
        name = f"SmolLM2-135M-Instruct-Q4_1-0000{number}-of-00003.gguf"
        huggingface_hub.hf_hub_download(repository, name, cache_dir=cache / "hub", endpoint=hub.url, token=False)
    requests = len(hub.settle())
    mounts = ("--volume", f"{cache}:/hf:ro", "--tmpfs", "/models:mode=1777")
    container = engine.start(*mounts, HF_HOME="/hf", HF_HUB_OFFLINE="1").wait_until_ready()
    assert "Paris" in container.ask()
    assert "from /hf/hub, 0 bytes over the network" in container.logs()
    assert hub.settle()[requests:] == []
    container.stop()


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize(
    ("flags", "variable", "said"),
    [
        (("--tools", "all"), "", "name tools in llama_server_allow"),
        (
            ("--model", "/models/other.gguf"),
            "",
            "GGUF_MODEL_SOURCE: expected the value among the container's arguments",
        ),
        (("--path", "/"), "", "gives files of the host"),
        (("--of-no-release",), "", "an option of this release"),
        ((), "LLAMA_ARG_TOOLS", "name tools in llama_server_allow"),
    ],
)
def test_no_option_gets_past_the_door(engine: Engine, flags: tuple[str, ...], variable: str, said: str) -> None:
    container = engine.start(flags=flags, **({variable: "all"} if variable else {}))
    assert container.wait_until_gone() != 0
    assert said in container.logs()
