"""Define the steps of the test suite, in the order they run."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import tempfile
import typing

from tests.harness import environments, tools
from tests.harness.context import COLLECTION, ROOT, Context
from tests.hosts import podman

# One process more than processors, because many tests wait.
PROCESSES = ("--numprocesses", str(len(os.sched_getaffinity(0)) + 1))
_PLUGINS = "collections/ansible_collections/llama_fleet/core/tests/unit/plugins"
_MODULES = (
    "llama_cpp_release",
    "llama_cpp_release_git",
    "llama_cpp_release_options",
    "llama_cpp_release_packed",
    "llama_server_kills",
)
BUILDS = (
    *(f"{_PLUGINS}/modules/test_{name}.py" for name in _MODULES),
    f"{_PLUGINS}/module_utils/gguf/test_header_hostile.py",
    "tests/unit/modules/segments/test_kill.py",
    "tests/unit/cli/test_launcher.py",
    "tests/unit/gpu/test_rehearsal.py",
)
# The hosts' oldest Python; change it together with tools/venv.py and the documentation.
OLDEST_PYTHON = "3.10"
FEWER_KILLS = {"LLAMA_FLEET_TEST_KILLS": "10"}
# The version before the default one.
OLDER = "pypi:llama-cpp-python==0.3.36#sha256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"


@dataclasses.dataclass(frozen=True)
class Step:
    """A step of the test suite.

    A ``quick`` step needs neither root nor a network beyond the package index. A step is skipped if one that it
    ``needs`` did not pass; it runs ``after`` others whose resources it shares or whose results it uses. Any other two
    steps may run in parallel. Steps that are not ``default`` run only by name.
    """

    name: str
    purpose: str
    run: typing.Callable[[Context], None]
    quick: bool = False
    default: bool = True
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


Run = typing.Callable[[Context], None]
ALL: list[Step] = []


def step(
    name: str,
    purpose: str,
    *,
    quick: bool = False,
    default: bool = True,
    needs: tuple[str, ...] = (),
    after: tuple[str, ...] = (),
) -> typing.Callable[[Run], Run]:
    """Return a decorator that makes a function the next step.

    Every step comes after the first one. ``after`` and ``needs`` may only name earlier steps.
    """
    known = [earlier.name for earlier in ALL]
    unknown = {*needs, *after} - set(known)
    if unknown or name in known:
        raise ValueError(f"the step {name} exists already, or names steps that do not come before it: {unknown}")

    def add(function: Run) -> Run:
        ALL.append(Step(name, purpose, function, quick, default, needs, (*after, *known[:1])))
        return function

    return add


@step("packages", "the Debian packages that the tests need")
def packages(context: Context) -> None:
    environments.install_packages(context)


@step("release", "llama.cpp, built on this machine (the compilers' cache serves the steps after it)")
def release(context: Context) -> None:
    context.require_root("a build with packages of the system")
    root = context.cache / "machine"
    arguments = f"source='{tools.default_source()}' root={root} compiler_cache={context.cache / 'ccache'}"
    ansible = ("ansible", "-i", "inventories/localhost", "localhost", "-m", "llama_fleet.core.llama_cpp_release")
    context.run(*ansible, "-a", arguments, venv=environments.main_venv(context))


@step("ruff", "Python: errors, style and format", quick=True)
def ruff(context: Context) -> None:
    venv = environments.main_venv(context)
    context.run("ruff", "check", ".", venv=venv)
    context.run("ruff", "format", "--check", ".", venv=venv)


@step("mypy", "Python: types, strictly", quick=True)
def mypy(context: Context) -> None:
    venv = environments.main_venv(context)
    command = ("mypy", "--cache-dir", context.cache / "mypy")
    folders = ("src", "plugins", "tests", "molecule", "docs", "benchmarks", "image")
    context.run(*command, *folders, COLLECTION / "plugins", venv=venv)
    context.run(*command, "--python-version", OLDEST_PYTHON, COLLECTION / "plugins", venv=venv)


@step("shellcheck", "shell scripts", quick=True)
def shellcheck(context: Context) -> None:
    context.run(
        "shellcheck",
        "llama-fleet",
        "tests/run",
        "tests/gpu/run",
        "tests/gpu/collect",
        "tests/gpu/report",
        ".ci/run",
        venv=environments.main_venv(context),
    )


@step("locks", "the age of the locks of Python packages: in CI an old one fails, elsewhere it is reported", quick=True)
def age_of_locks(context: Context) -> None:
    # Not imported above: the first steps run before the environment with the collection's requirements exists.
    context.run(
        "python",
        "-m",
        "tests.harness.locks",
        venv=environments.main_venv(context),
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'collections'}"},
    )


@step("yamllint", "YAML", quick=True)
def yamllint(context: Context) -> None:
    context.run("yamllint", "--strict", ".", venv=environments.main_venv(context))


@step("images", "images of real hosts")
def images(context: Context) -> None:
    context.require_root("making host images")
    tools.ensure_images(context)


@step(
    "hosts",
    "the images of real hosts, and the content of the test hub",
    needs=("release",),
    after=("images",),
)
def hosts(context: Context) -> None:
    context.require_root("making host images")
    tools.ensure_images(context)
    splitter = tools.newest_release(context) / "bin" / "llama-gguf-split"
    python_path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'collections'}"}
    context.run(
        "python",
        "-m",
        "tests.harness.content",
        context.cache / "hub",
        splitter,
        venv=environments.main_venv(context),
        env=python_path,
    )


@step("molecule", "three hosts over SSH: from bare to an answer, changed, restarted, stopped", needs=("hosts",))
def molecule(context: Context) -> None:
    context.require_root("hosts in podman")
    settings = podman.settings(context.cache) | {"NO_COLOR": "1", "XDG_CACHE_HOME": str(context.cache / "xdg")}
    # In a separate folder: molecule would trust the notes of a killed run and not make the hosts.
    with tempfile.TemporaryDirectory(prefix="llama-fleet-molecule-") as folder:
        settings |= {"LLAMA_FLEET_TEST_RUN": f"{folder}/run", "MOLECULE_EPHEMERAL_DIRECTORY": f"{folder}/state"}
        # First remove what such a run has left.
        for command in (("destroy",), ("test", "--all")):
            context.run(
                "molecule", "-c", "molecule/config.yml", *command, venv=environments.main_venv(context), env=settings
            )


@step("units", "unit and contract tests, except those of 'builds'", quick=True)
def units(context: Context) -> None:
    tools.run_pytest(context, environments.main_venv(context), *PROCESSES, *(f"--ignore={name}" for name in BUILDS))


@step("builds", "unit tests that build, kill and mutate; they take minutes, so they are not quick")
def builds(context: Context) -> None:
    # A run is killed before each of its changes. This step tries fewer of the moments in between; 'instances' tries 30.
    tools.run_pytest(context, environments.main_venv(context), *PROCESSES, *BUILDS, env=FEWER_KILLS)


@step("hostile", "a hostile host, Hub, package index, archive, local user and holder of the port", quick=True)
def hostile(context: Context) -> None:
    tools.run_pytest(context, environments.main_venv(context), *PROCESSES, "tests/hostile")


@step("olah", "the module gguf_model with a caching mirror as its endpoint", quick=True)
def olah(context: Context) -> None:
    program = environments.olah_venv(context) / "bin" / "olah-cli"
    context.run(
        "pytest",
        "-q",
        "tests/unit/modules/gguf_model/test_olah.py",
        venv=environments.main_venv(context),
        env={"LLAMA_FLEET_TEST_OLAH": str(program)},
    )


# The only hostile test that needs a real release.
LOCAL_USER = "tests/hostile/test_local_user.py::test_llama_server_is_not_root_and_reads_its_key_in_memory"


@step("server", "the modules llama_server and gguf_info with a real release and a real model", needs=("hosts",))
def server(context: Context) -> None:
    context.require_root("the release")
    model = next((context.cache / "hub" / "repos").glob("*/*/*-00001-of-*.gguf"))
    real = {"LLAMA_FLEET_TEST_RELEASE": str(tools.newest_release(context)), "LLAMA_FLEET_TEST_MODEL": str(model)}
    units = COLLECTION / "tests" / "unit" / "plugins"
    files = (
        units / "modules" / "test_llama_server.py",
        units / "modules" / "test_llama_server_models.py",
        units / "modules" / "test_llama_server_options.py",
        units / "modules" / "test_llama_server_sleeping.py",
        units / "module_utils" / "release" / "test_memory_plan_real.py",
        units / "module_utils" / "gguf" / "test_header.py",
    )
    # Distribute by test, not by file, because one of them waits for a hanging server.
    tools.run_pytest(
        context,
        environments.main_venv(context),
        "--dist",
        "load",
        *files,
        "tests/unit/modules/gguf_info/test_module.py",
        "tests/unit/chat/test_server.py",
        "tests/unit/gpu/test_rehearsal.py",
        LOCAL_USER,
        env=real,
    )


@step(
    "instance",
    "an instance on a real host with systemd: changed, damaged, killed, rolled back, booted; doctor on such a host",
    needs=("hosts",),
)
def instance(context: Context) -> None:
    context.require_root("hosts in podman")
    tools.server_pytest(
        context, "test_instance.py", "test_late.py", "test_background.py", "test_doctor.py", env=FEWER_KILLS
    )


@step("gateway", "the gateway: a real HAProxy here, and on real hosts with real llama-servers", needs=("hosts",))
def gateway(context: Context) -> None:
    context.require_root("hosts in podman")
    tools.run_pytest(context, environments.main_venv(context), *PROCESSES, "tests/gateway")
    tools.server_pytest(context, "test_gateway.py")


@step("e2e", "the README's commands on this machine, from nothing to answers; the openai client", needs=("hosts",))
def e2e(context: Context) -> None:
    context.require_root("the whole path on this machine")
    # One file for each of two processes: while one waits for a server, the other one can work.
    split = ("--numprocesses", "2", "--dist", "loadfile")
    settings = {"LLAMA_FLEET_TEST_CCACHE": str(context.cache / "ccache")}
    tools.long_pytest(context, *split, "tests/e2e/test_up.py", "tests/e2e/test_readme.py", env=settings)


@step(
    "gpu-run",
    "the run on a GPU, rehearsed without one: a slim parcel, all phases, a killed run, a recorded GPU",
    needs=("hosts",),
)
def gpu_run(context: Context) -> None:
    context.require_root("mounts for the image's steps")
    packed = tools.packed_release(context)
    context.run(
        "pytest",
        "-v",
        *tools.APART,
        "tests/gpu/test_run.py",
        venv=environments.main_venv(context),
        env={"LLAMA_FLEET_TEST_PACKED": str(packed)},
    )


@step("sanity", "ansible-test sanity")
def sanity(context: Context) -> None:
    tools.ansible_test(context, "sanity", environments.main_venv(context))


@step("sanity-newest", "ansible-test sanity of the newest ansible-core", after=("sanity",))
def sanity_newest(context: Context) -> None:
    tools.ansible_test(context, "sanity", environments.newest_venv(context))


# After the steps that compile the same with the same compiler, and apart from other hosts on podman's network, because
# removing one host breaks the connections of the others.
@step(
    "e2e-host",
    "the README's commands on a host with systemd, and its fleet",
    needs=("hosts",),
    after=("instance", "molecule"),
)
def e2e_host(context: Context) -> None:
    context.require_root("hosts in podman")
    settings = podman.settings(context.cache) | {"LLAMA_FLEET_TEST_CCACHE": str(context.cache / "ccache")}
    tools.long_pytest(context, "tests/e2e/test_host.py", env=settings)


@step("units-newest", "the command's and the contract tests with the newest ansible-core")
def units_newest(context: Context) -> None:
    # The tests that run Ansible or parse its output; the rest does not depend on its version.
    names = (
        "cli/test_commands",
        "container/test_play",
        "modules/gguf_info/test_module",
        "plays/test_batches",
        "plays/test_callback",
        "plays/test_instances",
        "run/test_events",
        "run/test_orphans",
        "run/test_runner",
        "run/test_runner_signals",
    )
    files = (
        "tests/contract",
        "tests/unit/modules/gguf_model/test_module.py",
        *(f"tests/unit/{name}.py" for name in names),
    )
    tools.run_pytest(context, environments.newest_venv(context), *files)


@step("image", "the container image, built, started, restarted and stopped", needs=("hosts",), after=("molecule",))
def image(context: Context) -> None:
    context.require_root("building an image")
    tools.long_pytest(context, "tests/image/test_image.py", env=podman.settings(context.cache))


@step(
    "ansible-units",
    "the unit tests of the collection's plugins, as the newest ansible-test runs them",
    after=("sanity-newest", "units-newest"),
)
def ansible_units(context: Context) -> None:
    # 'units' has run all of them with the oldest ansible-core. Leave out pure Python, and the many builds and changes
    # of instances, because ansible-test starts a process for each test.
    apart = ["module_utils/", *(f"modules/test_llama_cpp_release_{name}.py" for name in ("options", "packed"))]
    apart += [
        f"modules/test_llama_server_{name}.py" for name in ("exec", "failures", "generations", "kills", "rollback")
    ]
    excluded = (word for name in apart for word in ("--exclude", f"tests/unit/plugins/{name}"))
    tools.ansible_test(context, "units", environments.newest_venv(context), "--requirements", *excluded)


@step("ansible-lint", "plays and roles, by the production profile", quick=True)
def ansible_lint(context: Context) -> None:
    context.run(
        "ansible-lint",
        "--profile",
        "production",
        "--offline",
        venv=environments.main_venv(context),
        env={"NO_COLOR": "1"},
    )


@step("galaxy", "the built collection, checked by Galaxy's importer")
def galaxy(context: Context) -> None:
    collection = tools.copy_collection(context, "galaxy")
    (version,) = re.findall(r"^version: (\S+)$", (collection / "galaxy.yml").read_text(encoding="utf-8"), re.MULTILINE)
    built = context.cache / "galaxy" / f"llama_fleet-core-{version}.tar.gz"
    context.run(
        "antsibull-changelog", "release", "--version", version, cwd=collection, venv=environments.main_venv(context)
    )
    context.run(
        "ansible-galaxy",
        "collection",
        "build",
        "--force",
        "--output-path",
        built.parent,
        cwd=collection,
        venv=environments.main_venv(context),
    )
    config = context.cache / "galaxy" / "importer.cfg"
    checks = {"RUN_ANSIBLE_TEST": False, "CHECK_CHANGELOG": True, "CHECK_REQUIRED_TAGS": True}
    config.write_text(
        "[galaxy-importer]\n" + "".join(f"{name} = {value}\n" for name, value in checks.items()), encoding="utf-8"
    )
    venv = environments.galaxy_venv(context)
    context.run(
        "python",
        "-m",
        "galaxy_importer.main",
        built,
        cwd=built.parent,
        venv=venv,
        env={"GALAXY_IMPORTER_CONFIG": str(config)},
    )


@step("docs", "the collection's documentation", quick=True)
def docs(context: Context) -> None:
    context.run(
        "antsibull-docs", "lint-collection-docs", "--plugin-docs", COLLECTION, venv=environments.main_venv(context)
    )


@step("site", "the documentation site: built, no broken link, no request to another host", quick=True)
def site(context: Context) -> None:
    folder, venv = context.cache / "site", environments.docs_venv(context)
    quiet = {"NO_MKDOCS_2_WARNING": "1"}  # an advertisement of its successor
    context.run("mkdocs", "build", "--strict", "--quiet", "--clean", "--site-dir", folder, venv=venv, env=quiet)
    context.run("python", "-m", "tests.harness.site", folder, venv=venv, env={"PYTHONPATH": str(ROOT)})


@step("changelog", "the collection's changelog fragments", quick=True)
def changelog(context: Context) -> None:
    context.run("antsibull-changelog", "lint", cwd=COLLECTION, venv=environments.main_venv(context))


@step("toolkit", "a CUDA toolkit from wheels: installed, tested, removed")
def toolkit(context: Context) -> None:
    tools.cuda_pytest(context, "test_toolkit.py")


@step(
    "cuda",
    "llama.cpp for CUDA, built on a machine without a GPU (over an hour of CPU time)",
    default=False,
    after=("toolkit",),
)
def cuda(context: Context) -> None:
    tools.cuda_pytest(context, "test_toolkit.py")
    root = context.cache / "cuda"
    newest = max((root / "toolkits").glob("cuda-*"), key=lambda folder: folder.stat().st_mtime)
    folders = {"root": str(root), "compiler_cache": str(context.cache / "ccache"), "cuda_toolkit": str(newest)}
    arguments = {
        "source": tools.default_source(),
        **folders,
        "backend": "cuda",
        "cuda_architectures": ["90-real"],
        "cmake_options": {"GGML_CUDA_FA": "OFF"},
    }
    ansible = ("ansible", "-i", "inventories/localhost", "localhost", "-m", "llama_fleet.core.llama_cpp_release")
    context.run(*ansible, "-a", json.dumps(arguments), venv=environments.main_venv(context))
    tools.cuda_pytest(context, "test_build.py")


@step("mutants", "deliberate faults, one at a time, each of which its tests must notice", default=False)
def mutants(context: Context) -> None:
    context.require_root("what some mutants change")
    context.run("python", "-m", "tests.mutants", venv=environments.main_venv(context))


@step(
    "instances",
    "several instances on a real host, limits enforced by the kernel, locked memory, a router of models; 30 kills",
    default=False,
    needs=("hosts",),
    after=("instance", "e2e-host"),
)
def instances(context: Context) -> None:
    context.require_root("hosts in podman")
    tools.server_pytest(context, "test_instances.py", "test_instance.py")


@step(
    "quadlet",
    "instances in containers on a real host: podman's quadlet, docker compose",
    default=False,
    needs=("hosts",),
    after=("instance", "e2e-host", "instances"),
)
def quadlet(context: Context) -> None:
    context.require_root("hosts in podman")
    tools.server_pytest(context, "test_quadlet.py", "test_docker.py")


@step(
    "upgrade",
    "two real versions of llama.cpp: an instance is upgraded from one to the other and back",
    default=False,
    after=("instance", "e2e-host", "instances", "quadlet"),
)
def upgrade(context: Context) -> None:
    context.require_root("hosts in podman")
    root = context.cache / "upgrade"
    for source in (OLDER, tools.default_source()):
        arguments = {
            "source": source,
            "root": str(root),
            "compiler_cache": str(context.cache / "ccache"),
            "instances": str(root / "etc"),
        }
        ansible = ("ansible", "-i", "inventories/localhost", "localhost", "-m", "llama_fleet.core.llama_cpp_release")
        context.run(*ansible, "-a", json.dumps(arguments), venv=environments.main_venv(context))
    tools.server_pytest(context, "test_upgrade.py", env={"LLAMA_FLEET_TEST_RELEASES": str(root / "releases")})


@step(
    "container",
    (
        "the container over its life: updates, failures, a baked image, the guide's commands, compose, Kubernetes, "
        "quadlet, docker"
    ),
    default=False,
    needs=("hosts",),
    after=("image", "molecule", "e2e", "instance", "e2e-host", "instances", "quadlet", "upgrade"),
)
def container(context: Context) -> None:
    context.require_root("building an image")
    settings = podman.settings(context.cache) | {
        "LLAMA_FLEET_TEST_TOOLS": str(environments.container_venv(context) / "bin")
    }
    for name in (
        "updates",
        "runtime",
        "guide",
        "examples",
        "dockerd",
    ):  # each has its own Hub, so it gets its own process
        tools.long_pytest(context, f"tests/image/test_{name}.py", env=settings)
