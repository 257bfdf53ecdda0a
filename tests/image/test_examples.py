# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Check the files for compose, Kubernetes, systemd and GitHub, and the SBOM, with the tools that read them.

Run by name (``tests/run container``). LLAMA_FLEET_TEST_TOOLS is the folder of those programs, which
requirements/container.txt names.
"""

from __future__ import annotations

import os
import pathlib
import subprocess

import pytest
import yaml

from tests.hosts import podman
from tests.image import containers
from tests.server import containers as hosts

TOOLS = pathlib.Path(os.environ.get("LLAMA_FLEET_TEST_TOOLS", ""))
EXAMPLES = containers.ROOT / "examples"
KUBERNETES = "1.34"


def tool(name: str, *arguments: str | pathlib.Path, **settings: str) -> str:
    done = subprocess.run(
        [TOOLS / name, *arguments], capture_output=True, text=True, check=False, env={**os.environ, **settings}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("schema", "file"), [("github-workflows", ".github/workflows/image.yml"), ("compose-spec", "compose.yaml")]
)
def test_its_schema_is_kept(schema: str, file: str) -> None:
    tool("check-jsonschema", "--builtin-schema", f"vendor.{schema}", containers.ROOT / file)


@pytest.mark.parametrize(("profile", "gpus"), [("cpu", 0), ("gpu", 1)])
def test_compose_reads_its_file(profile: str, gpus: int) -> None:
    shown = tool(
        "docker-compose",
        "--file",
        containers.ROOT / "compose.yaml",
        "--profile",
        profile,
        "config",
        MODEL="a/b",
        MEMORY_LIMIT="3g",
    )
    service = yaml.safe_load(shown)["services"][profile]
    assert service["mem_limit"] == str(3 << 30)
    assert service["environment"]["MODEL"] == "a/b"
    assert {volume["target"] for volume in service["volumes"]} == {"/models", "/var/lib/llama-fleet"}
    assert len(service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", [])) == gpus


def test_compose_wants_a_model() -> None:
    words = ("--file", str(containers.ROOT / "compose.yaml"), "--profile", "cpu", "config")
    done = subprocess.run(
        [str(TOOLS / "docker-compose"), *words],
        capture_output=True,
        text=True,
        check=False,
        env={name: text for name, text in os.environ.items() if name != "MODEL"},
    )
    assert done.returncode != 0
    assert "set MODEL to owner/repo" in done.stderr


@pytest.mark.parametrize("patched", [False, True])
def test_kubernetes_knows_every_field(patched: bool, tmp_path: pathlib.Path) -> None:
    documents = list(yaml.safe_load_all((EXAMPLES / "kubernetes" / "llama-server.yaml").read_text(encoding="utf-8")))
    if patched:
        patch = yaml.safe_load((EXAMPLES / "kubernetes" / "gpu-patch.yaml").read_text(encoding="utf-8"))
        limits = patch["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
        next(found for found in documents if found["kind"] == "Deployment")["spec"]["template"]["spec"]["containers"][
            0
        ]["resources"]["limits"] |= limits
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    tool("kubernetes-validate", "--kubernetes-version", KUBERNETES, "--strict", file)


def test_podman_makes_units_of_the_quadlet() -> None:
    podman.ensure(hosts.IMAGE, containers.CACHE / "images", dict(os.environ))
    words = [
        "podman",
        "run",
        "--rm",
        "--network",
        "none",
        "--volume",
        f"{EXAMPLES / 'quadlet'}:/etc/containers/systemd:ro",
    ]
    shown = subprocess.run(
        [*words, hosts.IMAGE.name, "/usr/libexec/podman/quadlet", "-dryrun"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    units = shown.stdout
    assert "--read-only" in units
    assert "--cap-drop all" in units
    assert "systemd-llama-models:/models" in units
    assert "systemd-llama-state:/var/lib/llama-fleet" in units
    assert "unsupported" not in shown.stderr.lower()


def test_spdx_tools_accept_the_list_of_packages(image: str, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "sbom.spdx.json"
    file.write_text(containers.inside(image, "cat /usr/share/llama-fleet/sbom.spdx.json"), encoding="utf-8")
    tool("pyspdxtools", "--infile", file)
