"""What several steps of the test suite do."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import typing

from tests.harness import environments
from tests.harness.context import COLLECTION, SILENCE, Context, FailedError
from tests.hosts import podman

ANSIBLE_TEST_PIP = """\
# ansible-test asks a host of its own for this file; here pip comes out of the Python itself.
import subprocess
import sys

# In a process of its own, for it makes pip forget its configuration.
subprocess.check_call([sys.executable, "-m", "ensurepip"], stdout=subprocess.DEVNULL)
arguments = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *arguments]))
"""
# Seconds that one test may take in which llama.cpp is built by a slow machine, with nothing in the compilers' cache.
LONG_TEST = 2700
# Nothing is kept that another run at the same time would write too.
APART = ("-p", "no:cacheprovider")


def run_pytest(
    context: Context, venv: pathlib.Path, *arguments: str | pathlib.Path, env: typing.Mapping[str, str] | None = None
) -> None:
    """The tests of pyproject.toml's testpaths, those of a file in one process."""
    context.run("pytest", "-q", *APART, "--numprocesses", "auto", "--dist", "loadfile", *arguments, venv=venv, env=env)


def long_pytest(context: Context, *arguments: str | pathlib.Path, env: typing.Mapping[str, str] | None = None) -> None:
    """Tests of which a single one may build llama.cpp or make a host, one after the other unless told otherwise."""
    limits = ("--timeout", str(LONG_TEST))
    context.run(
        "pytest",
        "-v",
        *APART,
        *limits,
        *arguments,
        venv=environments.main_venv(context),
        env=env,
        silence=LONG_TEST + SILENCE,
    )


def server_pytest(context: Context, *files: str, env: typing.Mapping[str, str] | None = None) -> None:
    """Tests with real hosts that run the module llama_server."""
    paths = [f"tests/server/{file}" for file in files]
    settings = {**podman.settings(context.cache), **(env or {})}
    long_pytest(context, *paths, env=settings)


def cuda_pytest(context: Context, file: str) -> None:
    """One of the tests with a real toolkit, which stays in the cache."""
    kept = {"LLAMA_FLEET_TEST_CUDA": str(context.cache / "cuda")}
    long_pytest(context, f"tests/cuda/{file}", env=kept)


def ensure_images(context: Context) -> None:
    environment = context.environment | podman.settings(context.cache)
    for image in (*podman.HOSTS, podman.BASE):
        made = podman.ensure(image, context.cache / "images", environment)
        context.say(f"{image.name}: {'made' if made else 'there already'}")


def newest_release(context: Context) -> pathlib.Path:
    """The newest release that the step of that name built."""
    built = sorted(
        (context.cache / "machine" / "releases").glob("*/manifest.json"), key=lambda manifest: manifest.stat().st_mtime
    )
    if not built:
        raise FailedError("there is no release: run the step 'release' first")
    return built[-1].parent


def packed_release(context: Context) -> pathlib.Path:
    """The release of ``newest_release`` as one archive."""
    folder = context.cache / "packed"
    arguments = {
        "source": default_source(),
        "root": str(context.cache / "machine"),
        "compiler_cache": str(context.cache / "ccache"),
    }
    ansible = ("ansible", "-i", "inventories/localhost", "localhost", "-m", "llama_fleet.core.llama_cpp_release")
    given = json.dumps({**arguments, "state": "packed", "pack_to": str(folder)})
    context.run(*ansible, "-a", given, venv=environments.main_venv(context))
    return folder / f"{newest_release(context).name}.tar.zst"


def default_source() -> str:
    defaults = (COLLECTION / "roles" / "llama_cpp" / "defaults" / "main.yml").read_text(encoding="utf-8")
    (source,) = re.findall(r'^llama_cpp_source: "(.*)"$', defaults, re.MULTILINE)
    return str(source)


def copy_collection(context: Context, name: str) -> pathlib.Path:
    """A copy under a path as Ansible's tools want it, where they may leave what they make."""
    target = context.cache / name / "ansible_collections" / "llama_fleet" / "core"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(COLLECTION, target, ignore=shutil.ignore_patterns("__pycache__", "output", ".*_cache", ".ansible"))
    return target


def ansible_test(context: Context, kind: str, venv: pathlib.Path, *arguments: str) -> None:
    collection = copy_collection(context, kind)
    # A home of its own: ansible-test keeps its environments there, and the file below is none for other projects.
    home = context.cache / "home"
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for settings in (".config", ".pip"):
        if (pathlib.Path.home() / settings).exists() and not (home / settings).is_symlink():
            (home / settings).symlink_to(pathlib.Path.home() / settings)
    (requirements,) = venv.glob("lib/python3*/site-packages/ansible_test/_internal/python_requirements.py")
    for version in re.findall(r"\bpip='([\d.]+)'", requirements.read_text(encoding="utf-8")):
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(ANSIBLE_TEST_PIP, encoding="utf-8")
    python = next(path.name for path in (venv / "bin").glob("python3.*"))
    command = ("ansible-test", kind, "--local", "--color", "no", "--python", python.removeprefix("python"), *arguments)
    try:
        context.run(*command, cwd=collection, venv=venv, env={"HOME": str(home), "PATH": os.environ["PATH"]})
    finally:
        for report in collection.glob("tests/output/junit/*-units.xml"):
            context.note(report)
