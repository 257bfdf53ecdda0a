# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Every command of the container guide, and every file for compose, podman and Kubernetes, against what the entrypoint
and the Dockerfile know.

tests/image runs the guide's commands.
"""

import argparse
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import typing

import pytest
import yaml

from llama_fleet import settings
from llama_fleet.container import record, variables

ROOT = pathlib.Path(__file__).resolve().parents[3]
CATALOGUE = settings.load()
GUIDE = (ROOT / "docs" / "container.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) for line in block.splitlines()]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
KUBERNETES = list(
    yaml.safe_load_all((ROOT / "examples" / "kubernetes" / "llama-server.yaml").read_text(encoding="utf-8"))
)
PATCH = yaml.safe_load((ROOT / "examples" / "kubernetes" / "gpu-patch.yaml").read_text(encoding="utf-8"))
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "image.yml").read_text(encoding="utf-8"))
IMAGES = ("llama-fleet", "my-model")


def beginning(words: str) -> list[str]:
    return [line for line in COMMANDS if line.startswith(words)]


def understood(environment: typing.Mapping[str, str], folder: pathlib.Path) -> dict[str, object]:
    """Return the role variables of a container with this environment and the secrets in ``folder``."""
    secret = folder / "secret"
    secret.write_text("s", encoding="utf-8")
    warnings: list[str] = []
    values = variables.of(
        {name: str(secret) if name.endswith("_FILE") else text for name, text in environment.items()},
        CATALOGUE,
        warnings.append,
    )
    assert warnings == []
    return values


def run_line(line: str) -> argparse.Namespace:
    """Parse a line of docker run. Raises SystemExit for an option that is not listed here."""
    parser = argparse.ArgumentParser(prog=line, exit_on_error=True)
    parser.add_argument("-d", "--rm", "--read-only", action="store_true")
    parser.add_argument("-e", dest="environment", action="append", default=[])
    for several in ("-v", "-p", "--tmpfs", "--cap-drop", "--security-opt", "--ulimit"):
        parser.add_argument(several, action="append")
    for once in ("--name", "--gpus", "--cpus", "--memory", "--restart", "--network", "--user", "--entrypoint"):
        parser.add_argument(once)
    parser.add_argument("image", choices=IMAGES)
    parser.add_argument("flags", nargs=argparse.REMAINDER)
    return parser.parse_args(shlex.split(line)[2:])


@pytest.mark.parametrize("line", beginning("docker run "))
def test_a_container_of_the_guide_is_understood(line: str, tmp_path: pathlib.Path) -> None:
    given = run_line(line)
    environment = dict(word.split("=", 1) for word in given.environment)
    if given.entrypoint or given.image == "my-model":
        assert environment == {}
        return
    assert set(given.v) >= {"models:/models", "state:/var/lib/llama-fleet"}
    assert given.p == ["8080:8080"]
    if given.flags:
        environment[record.ARGUMENTS] = json.dumps(given.flags)
    understood(environment, tmp_path)


@pytest.mark.parametrize("line", beginning("docker build "))
def test_a_build_of_the_guide_has_a_stage_and_arguments(line: str) -> None:
    words = shlex.split(line)
    arguments = {words[place + 1].split("=")[0] for place, word in enumerate(words) if word == "--build-arg"}
    targets = {words[place + 1] for place, word in enumerate(words) if word == "--target"}
    assert arguments <= set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))
    assert targets <= set(re.findall(r"^FROM .* AS (\S+)$", DOCKERFILE, re.MULTILINE))


def test_compose_has_what_the_guide_starts() -> None:
    lines = [line for line in COMMANDS if "docker compose" in line]
    taken = re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text(encoding="utf-8"))
    profiles = {profile for service in COMPOSE["services"].values() for profile in service["profiles"]}
    assert {name for line in lines for name in re.findall(r"\b([A-Z_]+)=", line)} <= set(taken)
    assert {line.split("--profile ")[1].split()[0] for line in lines} == profiles == {"cpu", "gpu"}


def test_every_kind_of_command_is_tested() -> None:
    known = (
        "docker run ",
        "docker build ",
        "docker logs ",
        "docker stop ",
        "docker exec ",
        "docker inspect ",
        "curl --fail ",
    )
    assert [line for line in COMMANDS if not line.startswith(known) and "docker compose" not in line] == []


def test_the_guide_lists_the_modes_of_updates_and_no_unknown_variable() -> None:
    modes = re.findall(r"^\| `([a-z]+)` \|", GUIDE.split("## Updates")[1].split("##")[0], re.MULTILINE)
    assert tuple(modes) == CATALOGUE.variables["llama_cpp_update"].choices
    named = set(re.findall(r"\b((?:LLAMA_SERVER|LLAMA_CPP|GGUF_MODEL)_[A-Z_]+)\b", GUIDE))
    assert {name for name in named if name.removesuffix("_FILE").lower() not in CATALOGUE.variables} == set()


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_a_service_of_compose_is_understood(name: str, tmp_path: pathlib.Path) -> None:
    service = COMPOSE["services"][name]
    given = {key: "a/b" if key == "MODEL" else "" for key in service["environment"]}
    assert understood(given, tmp_path)["gguf_model_source"] == "a/b"
    assert set(service["environment"]) <= {*settings.ENVIRONMENT_NAMES, *(key.upper() for key in CATALOGUE.variables)}
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert ("deploy" in service) == (name == "gpu")


def test_the_stack_is_understood(tmp_path: pathlib.Path) -> None:
    stack = yaml.safe_load((ROOT / "examples" / "swarm" / "stack.yaml").read_text(encoding="utf-8"))
    (service,) = stack["services"].values()
    given = {name: "a/b" if name == "MODEL" else "" for name in service["environment"]}
    assert understood(given, tmp_path)["gguf_model_source"] == "a/b"
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    # What docker stack refuses or ignores.
    assert {"build", "profiles", "mem_limit", "restart", "env_file", "security_opt", "tmpfs"} & {*service} == set()
    assert {"type": "tmpfs", "target": "/tmp"} in service["volumes"]


@pytest.mark.skipif(shutil.which("docker") is None, reason="needs docker")
def test_docker_accepts_the_stack() -> None:
    file = ROOT / "examples" / "swarm" / "stack.yaml"
    environment = {**os.environ, "MODEL": "a/b", "NODE": "n1"}
    done = subprocess.run(
        ["docker", "stack", "config", "-c", str(file)], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert yaml.safe_load(done.stdout)["services"]["llama-server"]["environment"]["MODEL"] == "a/b"


def test_the_quadlet_is_understood(tmp_path: pathlib.Path) -> None:
    lines = (ROOT / "examples" / "quadlet" / "llama-server.container").read_text(encoding="utf-8").splitlines()
    # Also those that stand there as comments.
    given = [
        line.lstrip("# ").removeprefix("Environment=") for line in lines if line.lstrip("# ").startswith("Environment=")
    ]
    understood(dict(line.split("=", 1) for line in given), tmp_path)
    (check,) = [line.partition("=")[2] for line in lines if line.startswith("HealthCmd=")]
    assert check.split() == re.findall(r'"([^"]+)"', DOCKERFILE.split("HEALTHCHECK")[1].splitlines()[0])


def test_the_pod_is_understood_and_allows_for_the_first_build(tmp_path: pathlib.Path) -> None:
    (deployment,) = [found for found in KUBERNETES if found["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    understood({entry["name"]: entry.get("value", "s") for entry in container["env"]}, tmp_path)
    assert pod["enableServiceLinks"] is False
    probe = container["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 3600
    assert {container[kind]["httpGet"]["path"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")} == {
        "/health"
    }
    user = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    assert {(str(pod["securityContext"]["runAsUser"]), str(pod["securityContext"]["runAsGroup"]))} == set(user)
    (patched,) = PATCH["spec"]["template"]["spec"]["containers"]
    assert patched["name"] == container["name"]
    claims = {found["metadata"]["name"] for found in KUBERNETES if found["kind"] == "PersistentVolumeClaim"}
    assert {
        volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume
    } == claims


def test_the_image_has_the_versions_that_are_tested() -> None:
    pinned = [
        set(re.findall(r"^(?!#)(\S+==.+) \\$", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))
        for name in ("requirements/image.txt", "requirements.txt")
    ]
    assert len(pinned[0]) > 20
    assert pinned[0] - pinned[1] == set()


def test_the_images_own_script_is_sound() -> None:
    assert (
        subprocess.run(["shellcheck", ROOT / "image" / "strip"], stdout=subprocess.PIPE, text=True, check=False).stdout
        == ""
    )


@pytest.mark.parametrize("step", [step["name"] for step in WORKFLOW["jobs"]["image"]["steps"] if "run" in step])
def test_a_script_of_the_workflow_is_sound(step: str) -> None:
    (script,) = [found["run"] for found in WORKFLOW["jobs"]["image"]["steps"] if found.get("name") == step]
    checked = subprocess.run(
        ["shellcheck", "--shell", "bash", "-"], input=script, stdout=subprocess.PIPE, text=True, check=False
    )
    assert checked.stdout == ""
