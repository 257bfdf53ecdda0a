"""Install Debian packages and create virtual environments if they are missing."""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import subprocess
import threading
import time

from tests.harness.context import ROOT, Context, FailedError, SkippedError

# Debian 12's netavark calls iptables.
PACKAGES = [
    *(
        "aardvark-dns",
        "buildah",
        "ca-certificates",
        "ccache",
        "curl",
        "fuse-overlayfs",
        "g++",
        "git",
        "haproxy",
        "iproute2",
        "iptables",
        "libssl-dev",
    ),
    *("mmdebstrap", "netavark", "nftables", "openssh-client", "podman", "procps", "python3-venv", "runc"),
]

UNUSED = 14 * 24 * 3600


# Parallel steps may need the same environment.
_MAKING = threading.Lock()


def install_packages(context: Context) -> None:
    """Install the Debian packages that are missing."""
    context.require_root("installing Debian packages")
    if not shutil.which("apt-get"):
        raise SkippedError(
            "apt-get not found: install podman, buildah, mmdebstrap, ccache and g++ with this system's package manager"
        )
    status = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *PACKAGES],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    installed = {line.split()[0] for line in status.splitlines() if line.endswith(" installed")}
    missing = sorted(set(PACKAGES) - installed)
    if not missing:
        context.say("all packages are installed")
        return
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    patient = ("-o", "DPkg::Lock::Timeout=300")  # a machine that has just booted runs its own update
    context.run("apt-get", *patient, "update", "-q", env=quiet)
    context.run("apt-get", *patient, "install", "-q", "-y", "--no-install-recommends", *missing, env=quiet)


def main_venv(context: Context) -> pathlib.Path:
    """Return the environment of the tools and the project's requirements, on the machine's Python."""
    return _venv(context, "main", "python3", "requirements.txt", "requirements/dev.txt")


def newest_venv(context: Context) -> pathlib.Path:
    """Return the same on the newest Python of this machine, with the newest ansible-core."""
    return _venv(context, "newest", newest_python(), "requirements.txt", "requirements/dev.txt")


def galaxy_venv(context: Context) -> pathlib.Path:
    """Return the environment of galaxy-importer, whose requirements fit no other environment."""
    return _venv(context, "galaxy", "python3", "requirements/galaxy.txt")


def olah_venv(context: Context) -> pathlib.Path:
    """Return the environment of olah, a mirror of the Hub with its own web server."""
    return _venv(context, "olah", "python3", "requirements/olah.txt")


def container_venv(context: Context) -> pathlib.Path:
    """Return the environment of the checkers of compose, GitHub workflows, Kubernetes and SPDX files."""
    return _venv(context, "container", "python3", "requirements/container.txt")


def docs_venv(context: Context) -> pathlib.Path:
    """Return the environment of MkDocs, which builds the documentation site."""
    return _venv(context, "docs", "python3", "requirements/docs.txt")


def newest_python() -> str:
    """Return a Python that ansible-core's newest line supports; raise SkippedError if there is none."""
    for version in ("3.13", "3.12"):
        for folder in [
            *os.environ.get("PATH", "").split(":"),
            *map(str, pathlib.Path.home().glob(f".pyenv/versions/{version}*/bin")),
        ]:
            candidate = pathlib.Path(folder) / f"python{version}"
            # pyenv's shims also exist for versions that are not selected, and then fail
            if candidate.exists() and _works(candidate):
                return str(candidate)
    raise SkippedError("the newest ansible-core needs Python 3.12 or 3.13; neither was found")


def _works(python: pathlib.Path) -> bool:
    return subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True, check=False).returncode == 0


def _venv(context: Context, name: str, python: str, *requirements: str) -> pathlib.Path:
    """Return a virtual environment named by the hash of its inputs; remove those unused for two weeks."""
    with _MAKING:
        return _make_venv(context, name, python, *requirements)


def _make_venv(context: Context, name: str, python: str, *requirements: str) -> pathlib.Path:
    version = subprocess.run([python, "-VV"], capture_output=True, text=True, check=True).stdout
    texts = [(ROOT / file).read_bytes() for file in requirements]
    key = hashlib.sha256(b"\0".join([version.encode(), *texts])).hexdigest()[:12]
    target = context.cache / "venvs" / f"{name}-{key}"
    stamp = target / "complete"
    if stamp.exists():
        stamp.touch()
        return target
    for old in target.parent.glob(f"{name}-*/complete"):
        if time.time() - old.stat().st_mtime > UNUSED:
            shutil.rmtree(old.parent)
    context.run(python, "-m", "venv", "--clear", target)
    pip_conf = subprocess.run(
        [target / "bin/python", "-m", "pip", "config", "get", "global.index-url"],
        capture_output=True,
        text=True,
        check=False,
    )
    index = (
        {"UV_DEFAULT_INDEX": pip_conf.stdout.strip()}
        if pip_conf.returncode == 0 and "UV_DEFAULT_INDEX" not in os.environ
        else {}
    )
    try:
        context.run(target / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "uv")
        for file in requirements:
            context.run(target / "bin/uv", "pip", "install", "-q", "-r", file, venv=target, env=index)
    except FailedError as reason:
        raise FailedError(f"the virtual environment {name} could not be created: {reason}") from reason
    stamp.touch()
    return target
