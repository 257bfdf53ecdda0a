"""Debian packages and virtual environments, made where they are missing."""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import subprocess
import threading
import time

from tests.harness.context import ROOT, Context, FailedError, SkippedError

# iptables: what Debian 12's netavark calls.
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
        "iproute2",
        "iptables",
        "libssl-dev",
    ),
    *("mmdebstrap", "netavark", "nftables", "openssh-client", "podman", "procps", "python3-venv", "runc"),
]

UNUSED = 14 * 24 * 3600


# Steps that run at the same time may want the same one.
_MAKING = threading.Lock()


def install_packages(context: Context) -> None:
    """Install the Debian packages that are missing."""
    context.require_root("installing Debian packages")
    if not shutil.which("apt-get"):
        raise SkippedError(
            "there is no apt-get: install podman, buildah, mmdebstrap, ccache and g++ with what this system has"
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
        context.say("all of them are installed")
        return
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    patient = ("-o", "DPkg::Lock::Timeout=300")  # a machine that has just started looks for updates itself
    context.run("apt-get", *patient, "update", "-q", env=quiet)
    context.run("apt-get", *patient, "install", "-q", "-y", "--no-install-recommends", *missing, env=quiet)


def main_venv(context: Context) -> pathlib.Path:
    """The tools and the project's own requirements, on the machine's Python."""
    return _venv(context, "main", "python3", "requirements.txt", "requirements/dev.txt")


def newest_venv(context: Context) -> pathlib.Path:
    """The same on the newest Python that is there, which gets the newest ansible-core."""
    return _venv(context, "newest", newest_python(), "requirements.txt", "requirements/dev.txt")


def galaxy_venv(context: Context) -> pathlib.Path:
    """galaxy-importer, whose requirements fit no other environment."""
    return _venv(context, "galaxy", "python3", "requirements/galaxy.txt")


def olah_venv(context: Context) -> pathlib.Path:
    """olah, a mirror of the Hub, with a web server of its own."""
    return _venv(context, "olah", "python3", "requirements/olah.txt")


def container_venv(context: Context) -> pathlib.Path:
    """What checks the files about the image: compose, GitHub's workflows, Kubernetes, SPDX."""
    return _venv(context, "container", "python3", "requirements/container.txt")


def docs_venv(context: Context) -> pathlib.Path:
    """Return the environment of MkDocs, which builds the documentation site."""
    return _venv(context, "docs", "python3", "requirements/docs.txt")


def newest_python() -> str:
    """A Python that ansible-core's newest line runs on; skips the step where there is none."""
    for version in ("3.13", "3.12"):
        for folder in [
            *os.environ.get("PATH", "").split(":"),
            *map(str, pathlib.Path.home().glob(f".pyenv/versions/{version}*/bin")),
        ]:
            candidate = pathlib.Path(folder) / f"python{version}"
            # pyenv's shims exist for versions that are not selected, too, and then fail
            if candidate.exists() and _works(candidate):
                return str(candidate)
    raise SkippedError("the newest ansible-core needs Python 3.12 or 3.13, and neither is here")


def _works(python: pathlib.Path) -> bool:
    return subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True, check=False).returncode == 0


def _venv(context: Context, name: str, python: str, *requirements: str) -> pathlib.Path:
    """A virtual environment named by the hash of what it is made from; those of its name that nobody used for two
    weeks are removed.
    """
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
        raise FailedError(f"the virtual environment {name} cannot be made: {reason}") from reason
    stamp.touch()
    return target
