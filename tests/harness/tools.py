"""Share what several steps of the test suite do."""

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
# ansible-test downloads this file from its own host; here pip comes from the Python itself.
import subprocess
import sys

# In a separate process, because it makes pip forget its configuration.
subprocess.check_call([sys.executable, "-m", "ensurepip"], stdout=subprocess.DEVNULL)
arguments = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *arguments]))
"""
# Seconds for one test in which a slow machine builds llama.cpp with an empty compiler cache.
LONG_TEST = 2700
# Keep nothing that a parallel run would write too.
APART = ("-p", "no:cacheprovider")


def run_pytest(
    context: Context, venv: pathlib.Path, *arguments: str | pathlib.Path, env: typing.Mapping[str, str] | None = None
) -> None:
    """Run the tests of pyproject.toml's testpaths, each file in one process."""
    context.run("pytest", "-q", *APART, "--numprocesses", "auto", "--dist", "loadfile", *arguments, venv=venv, env=env)


def long_pytest(context: Context, *arguments: str | pathlib.Path, env: typing.Mapping[str, str] | None = None) -> None:
    """Run tests that may build llama.cpp or make a host, one at a time unless told otherwise."""
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
    """Run tests of the module llama_server on real hosts."""
    paths = [f"tests/server/{file}" for file in files]
    settings = {**podman.settings(context.cache), **(env or {})}
    long_pytest(context, *paths, env=settings)


def cuda_pytest(context: Context, file: str) -> None:
    """Run a test with a real toolkit, which stays in the cache."""
    kept = {"LLAMA_FLEET_TEST_CUDA": str(context.cache / "cuda")}
    long_pytest(context, f"tests/cuda/{file}", env=kept)


def ensure_images(context: Context) -> None:
    environment = context.environment | podman.settings(context.cache)
    for image in (*podman.HOSTS, podman.BASE):
        made = podman.ensure(image, context.cache / "images", environment)
        context.say(f"{image.name}: {'made' if made else 'present'}")


def newest_release(context: Context) -> pathlib.Path:
    """Return the newest release that the step 'release' built."""
    built = sorted(
        (context.cache / "machine" / "releases").glob("*/manifest.json"), key=lambda manifest: manifest.stat().st_mtime
    )
    if not built:
        raise FailedError("no release found: run the step 'release' first")
    return built[-1].parent


def packed_release(context: Context) -> pathlib.Path:
    """Pack the release of ``newest_release`` and return the archive's path."""
    folder = context.cache / "packed"
    arguments = {
        "source": default_source(),
        "root": str(context.cache / "machine"),
        "compiler_cache": str(context.cache / "ccache"),
    }
    ansible = ("ansible", "-i", "inventories/localhost", "localhost", "-m", "llama_fleet.core.llama_cpp_release")
    given = json.dumps({**arguments, "state": "packed", "pack_to": str(folder)})
    context.run(*ansible, "-a", given, venv=environments.main_venv(context))
    # The cache may hold it in zstd, as an earlier version packed it; then it is not packed again.
    return min(folder.glob(f"{newest_release(context).name}.tar.*"))


def default_source() -> str:
    defaults = (COLLECTION / "roles" / "llama_cpp" / "defaults" / "main.yml").read_text(encoding="utf-8")
    (source,) = re.findall(r'^llama_cpp_source: "?([^"\s]+)"?$', defaults, re.MULTILINE)
    return str(source)


def copy_collection(context: Context, name: str) -> pathlib.Path:
    """Copy the collection to a path that Ansible's tools accept and may write to."""
    target = context.cache / name / "ansible_collections" / "llama_fleet" / "core"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(COLLECTION, target, ignore=shutil.ignore_patterns("__pycache__", "output", ".*_cache", ".ansible"))
    return target


def ansible_test(context: Context, kind: str, venv: pathlib.Path, *arguments: str) -> None:
    collection = copy_collection(context, kind)
    # A separate home: ansible-test keeps its environments there, and other projects must not see the file below.
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
