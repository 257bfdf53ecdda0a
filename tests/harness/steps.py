"""The steps of the test suite, in the order they run."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
import shutil
import tempfile
import typing

from tests.harness import environments
from tests.harness.context import COLLECTION, ROOT, Context, FailedError
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


@dataclasses.dataclass(frozen=True)
class Step:
    """One step.

    ``quick`` ones need neither root nor more network than the package index. Those ``beside`` run while the others do: they
    build on none of them, or wait for them by ``require_passed``; none of the others builds on one of these. Those that are
    not ``default`` run only where they are named.
    """

    name: str
    purpose: str
    run: typing.Callable[[Context], None]
    quick: bool = False
    beside: bool = False
    default: bool = True


Run = typing.Callable[[Context], None]
ALL: list[Step] = []


def step(
    name: str, purpose: str, *, quick: bool = False, beside: bool = False, default: bool = True
) -> typing.Callable[[typing.Callable[[Context], None]], typing.Callable[[Context], None]]:
    """Make a function the next step."""

    def add(function: Run) -> Run:
        ALL.append(Step(name, purpose, function, quick, beside, default))
        return function

    return add


@step("packages", "the Debian packages that the tests need")
def packages(context: Context) -> None:
    environments.install_packages(context)


@step("ruff", "Python: errors, style and format", quick=True, beside=True)
def ruff(context: Context) -> None:
    venv = environments.main_venv(context)
    context.run("ruff", "check", ".", venv=venv)
    context.run("ruff", "format", "--check", ".", venv=venv)


@step("mypy", "Python: types, strictly", quick=True, beside=True)
def mypy(context: Context) -> None:
    venv = environments.main_venv(context)
    context.run("mypy", "--cache-dir", context.cache / "mypy", "src", "tests", "molecule", "docs", "benchmarks", COLLECTION / "plugins", venv=venv)


@step("shellcheck", "shell scripts", quick=True, beside=True)
def shellcheck(context: Context) -> None:
    context.run("shellcheck", "llama-fleet", "tests/run", "tests/gpu/run", "tests/gpu/collect", ".ci/run", venv=environments.main_venv(context))


@step("yamllint", "YAML", quick=True, beside=True)
def yamllint(context: Context) -> None:
    context.run("yamllint", "--strict", ".", venv=environments.main_venv(context))


@step("ansible-lint", "plays and roles, by the production profile", quick=True, beside=True)
def ansible_lint(context: Context) -> None:
    context.run("ansible-lint", "--profile", "production", "--offline", venv=environments.main_venv(context), env={"NO_COLOR": "1"})


# Early, for what runs beside builds on them.
@step("release", "llama.cpp, built on this machine (the compilers' cache serves the steps after it)")
def release(context: Context) -> None:
    context.require_root("a build with packages of the system")
    root = context.cache / "machine"
    arguments = f"source='{_default_source()}' root={root} compiler_cache={context.cache / 'ccache'}"
    ansible = ("ansible", "-i", "inventories/localhost", "localhost", "-m", "llama_fleet.core.llama_cpp_release")
    context.run(*ansible, "-a", arguments, venv=environments.main_venv(context))


@step("hosts", "the images of real hosts are there, and what the test hub serves them")
def hosts(context: Context) -> None:
    context.require_root("making host images")
    _ensure_images(context)
    context.require_passed("release")
    splitter = _release(context) / "bin" / "llama-gguf-split"
    python_path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'collections'}"}
    context.run("python", "-m", "tests.harness.content", context.cache / "hub", splitter, venv=environments.main_venv(context), env=python_path)


@step("units", "unit and contract tests", quick=True)
def units(context: Context) -> None:
    _pytest(context, environments.main_venv(context))


@step("olah", "the module gguf_model with a caching mirror as its endpoint", quick=True)
def olah(context: Context) -> None:
    program = environments.olah_venv(context) / "bin" / "olah-cli"
    context.run("pytest", "-q", "tests/unit/gguf_model/test_olah.py", venv=environments.main_venv(context), env={"LLAMA_FLEET_TEST_OLAH": str(program)})


@step("docs", "the collection's documentation", quick=True, beside=True)
def docs(context: Context) -> None:
    context.run("antsibull-docs", "lint-collection-docs", "--plugin-docs", COLLECTION, venv=environments.main_venv(context))


@step("changelog", "the collection's changelog fragments", quick=True, beside=True)
def changelog(context: Context) -> None:
    context.run("antsibull-changelog", "lint", cwd=COLLECTION, venv=environments.main_venv(context))


@step("units-newest", "the command's and the contract tests with the newest ansible-core")
def units_newest(context: Context) -> None:
    # Not those that meet little of Ansible: the launcher's, the hub's, the transports', the quant rule's, the benchmarks'.
    apart = ["test_launcher.py", "test_hub.py", "test_hub_faults.py", "test_xet.py", "segments", "gguf_model/test_transport.py"]
    apart += ["test_quant_properties.py", "test_build_benchmark.py", "test_gpu_run.py"]
    _pytest(context, environments.newest_venv(context), "tests/unit", "tests/contract", *(f"--ignore=tests/unit/{name}" for name in apart))


@step("sanity", "ansible-test sanity", beside=True)
def sanity(context: Context) -> None:
    _ansible_test(context, "sanity", environments.main_venv(context))


@step("sanity-newest", "ansible-test sanity of the newest ansible-core", beside=True)
def sanity_newest(context: Context) -> None:
    _ansible_test(context, "sanity", environments.newest_venv(context))


@step("ansible-units", "the unit tests of the collection's plugins, as the newest ansible-test runs them")
def ansible_units(context: Context) -> None:
    # 'units' has run them all with the oldest ansible-core: here not what is pure Python, nor again every build of a small project.
    apart = ("module_utils/", "modules/test_llama_cpp_release_options.py", "modules/test_llama_cpp_release_packed.py")
    excluded = (word for name in apart for word in ("--exclude", f"tests/unit/plugins/{name}"))
    _ansible_test(context, "units", environments.newest_venv(context), "--requirements", *excluded)


@step("galaxy", "the built collection, as Galaxy's importer sees it", beside=True)
def galaxy(context: Context) -> None:
    collection = _copy_collection(context, "galaxy")
    (version,) = re.findall(r"^version: (\S+)$", (collection / "galaxy.yml").read_text(encoding="utf-8"), re.MULTILINE)
    built = context.cache / "galaxy" / f"llama_fleet-core-{version}.tar.gz"
    context.run("antsibull-changelog", "release", "--version", version, cwd=collection, venv=environments.main_venv(context))
    context.run("ansible-galaxy", "collection", "build", "--force", "--output-path", built.parent, cwd=collection, venv=environments.main_venv(context))
    config = context.cache / "galaxy" / "importer.cfg"
    config.write_text("[galaxy-importer]\nRUN_ANSIBLE_TEST = False\nCHECK_CHANGELOG = True\nCHECK_REQUIRED_TAGS = True\n", encoding="utf-8")
    venv = environments.galaxy_venv(context)
    context.run("python", "-m", "galaxy_importer.main", built, cwd=built.parent, venv=venv, env={"GALAXY_IMPORTER_CONFIG": str(config)})


@step("images", "images of real hosts", beside=True)
def images(context: Context) -> None:
    context.require_root("making host images")
    _ensure_images(context)


@step("toolkit", "a CUDA toolkit out of wheels: installed, proved, removed", beside=True)
def toolkit(context: Context) -> None:
    _cuda_pytest(context, "test_toolkit.py")


@step("cuda", "llama.cpp for CUDA, built on a machine without a GPU (over an hour of CPU time)", default=False)
def cuda(context: Context) -> None:
    _cuda_pytest(context, "test_toolkit.py")
    root = context.cache / "cuda"
    newest = max((root / "toolkits").glob("cuda-*"), key=lambda folder: folder.stat().st_mtime)
    folders = {"root": str(root), "compiler_cache": str(context.cache / "ccache"), "cuda_toolkit": str(newest)}
    arguments = {"source": _default_source(), **folders, "backend": "cuda", "cuda_architectures": ["90-real"], "cmake_options": {"GGML_CUDA_FA": "OFF"}}
    ansible = ("ansible", "-i", "inventories/localhost", "localhost", "-m", "llama_fleet.core.llama_cpp_release")
    context.run(*ansible, "-a", json.dumps(arguments), venv=environments.main_venv(context), timeout=6 * 3600)
    _cuda_pytest(context, "test_build.py")


@step("server", "the modules llama_server and gguf_info with a real release and a real model")
def server(context: Context) -> None:
    context.require_root("the release")
    context.require_passed("hosts", "release")
    model = next((context.cache / "hub" / "repos").glob("*/*/*-00001-of-*.gguf"))
    real = {"LLAMA_FLEET_TEST_RELEASE": str(_release(context)), "LLAMA_FLEET_TEST_MODEL": str(model)}
    units = COLLECTION / "tests" / "unit" / "plugins"
    files = (units / "modules" / "test_llama_server.py", units / "module_utils" / "test_memory_plan.py", units / "module_utils" / "test_gguf_header.py")
    # Test by test, not file by file: one of them waits for a server that hangs.
    _pytest(context, environments.main_venv(context), "--dist", "load", *files, "tests/unit/test_gguf_info.py", env=real)


@step("e2e", "the README's commands, on this machine and on a host with systemd; the openai client")
def e2e(context: Context) -> None:
    context.require_root("the whole path on this machine")
    context.require_passed("hosts", "release")
    settings = podman.settings(context.cache) | {"LLAMA_FLEET_TEST_CCACHE": str(context.cache / "ccache")}
    # A file for each of two processes: while one waits for a host, the other one can work.
    split = ("--numprocesses", "2", "--dist", "loadfile")
    context.run("pytest", "-v", *split, "tests/e2e", venv=environments.main_venv(context), env=settings)


@step("molecule", "three hosts over SSH: from bare to an answer, changed, restarted, stopped", beside=True)
def molecule(context: Context) -> None:
    context.require_root("hosts in podman")
    context.require_passed("hosts", "release")
    settings = podman.settings(context.cache) | {"NO_COLOR": "1", "XDG_CACHE_HOME": str(context.cache / "xdg")}
    # In a folder of its own: molecule would believe what a run that was killed has noted, and not make the hosts.
    with tempfile.TemporaryDirectory(prefix="llama-fleet-molecule-") as folder:
        settings |= {"LLAMA_FLEET_TEST_RUN": f"{folder}/run", "MOLECULE_EPHEMERAL_DIRECTORY": f"{folder}/state"}
        # First what such a run has left is removed.
        for command in (("destroy",), ("test", "--all")):
            context.run("molecule", "-c", "molecule/config.yml", *command, venv=environments.main_venv(context), env=settings)


@step("image", "the container image, built, started, restarted and stopped")
def image(context: Context) -> None:
    context.require_root("building an image")
    context.require_passed("hosts", "release")
    context.run("pytest", "-v", "tests/image", venv=environments.main_venv(context), env=podman.settings(context.cache))


def _pytest(context: Context, venv: pathlib.Path, *arguments: str | pathlib.Path, env: typing.Mapping[str, str] | None = None) -> None:
    """The tests of pyproject.toml's testpaths, those of a file in one process."""
    usual = ("--numprocesses", "auto", "--dist", "loadfile", "-o", f"cache_dir={context.cache / 'pytest'}")
    context.run("pytest", "-q", *usual, *arguments, venv=venv, env=env)


def _cuda_pytest(context: Context, file: str) -> None:
    """One of the tests with a real toolkit, which stays in the cache."""
    command = ("pytest", "-q", "-o", f"cache_dir={context.cache / 'pytest'}", f"tests/cuda/{file}")
    context.run(*command, venv=environments.main_venv(context), env={"LLAMA_FLEET_TEST_CUDA": str(context.cache / "cuda")}, timeout=900)


def _ensure_images(context: Context) -> None:
    environment = context.environment | podman.settings(context.cache)
    for image in (*podman.HOSTS, podman.BASE):
        made = podman.ensure(image, context.cache / "images", environment)
        context.say(f"{image.name}: {'made' if made else 'there already'}")


def _release(context: Context) -> pathlib.Path:
    """The newest release that the step of that name built."""
    built = sorted((context.cache / "machine" / "releases").glob("*/manifest.json"), key=lambda manifest: manifest.stat().st_mtime)
    if not built:
        raise FailedError("there is no release: run the step 'release' first")
    return built[-1].parent


def _default_source() -> str:
    defaults = (COLLECTION / "roles" / "llama_cpp" / "defaults" / "main.yml").read_text(encoding="utf-8")
    (source,) = re.findall(r'^llama_cpp_source: "(.*)"$', defaults, re.MULTILINE)
    return str(source)


def _copy_collection(context: Context, name: str) -> pathlib.Path:
    """A copy under a path as Ansible's tools want it, where they may leave what they make."""
    target = context.cache / name / "ansible_collections" / "llama_fleet" / "core"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(COLLECTION, target, ignore=shutil.ignore_patterns("__pycache__", "output", ".*_cache", ".ansible"))
    return target


def _ansible_test(context: Context, kind: str, venv: pathlib.Path, *arguments: str) -> None:
    collection = _copy_collection(context, kind)
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
    context.run(*command, cwd=collection, venv=venv, env={"HOME": str(home), "PATH": os.environ["PATH"]})
