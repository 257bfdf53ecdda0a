"""Configure podman on the test machine and make images of real hosts.

mmdebstrap makes the images from Debian's archive; no container registry is used.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import resource
import subprocess
import threading

# Packages of every host that Ansible reaches over SSH.
HOST = "systemd systemd-sysv dbus openssh-server python3 sudo iproute2 ca-certificates curl"


@dataclasses.dataclass(frozen=True)
class Image:
    """An image: a Debian suite and its packages."""

    name: str
    suite: str
    packages: str

    @property
    def recipe(self) -> str:
        """Return the hash that identifies how the image was made."""
        return hashlib.sha256(f"{self.suite} {self.packages}".encode()).hexdigest()[:12]


# Debian 12 has the compiler; on Debian 13 the role installs it. Both have ccache, so that a second test run is quick.
HOSTS = (
    Image("localhost/llama-fleet-host:bookworm", "bookworm", f"{HOST} g++ libssl-dev ccache"),
    Image("localhost/llama-fleet-host:trixie", "trixie", f"{HOST} ccache"),
)
BASE = Image("localhost/llama-fleet-base:trixie", "trixie", "ca-certificates")

# Ends when a host's systemd has started everything. On a busy machine this may run before systemd listens, and
# ``--wait`` does not wait for that.
STARTED = "until systemctl is-system-running --wait 2>/dev/null | grep --quiet 'running\\|degraded'; do sleep 0.2; done"


def settings(folder: pathlib.Path) -> dict[str, str]:
    """Return the environment that podman and buildah need here.

    It has a CONTAINERS_CONF on machines without cgroup v2 or with a low limit of open files.
    """
    lines = []
    if not _can_raise_limits():
        soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lines += [
            "[containers]",
            f'default_ulimits = ["nofile={min(soft, 1024)}:{min(soft, 1024)}", "nproc=10000:10000"]',
        ]
    if not pathlib.Path("/sys/fs/cgroup/cgroup.controllers").exists():
        lines += ["[engine]", 'runtime = "runc"', 'cgroup_manager = "cgroupfs"', 'events_logger = "file"']
    if not lines:
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "containers.conf"
    part = file.with_suffix(f".{threading.get_ident()}")  # a podman of a parallel step may be reading it
    part.write_text("\n".join([*lines, "[network]", 'network_backend = "netavark"', ""]), encoding="utf-8")
    os.replace(part, file)
    return {"CONTAINERS_CONF": str(file)}


def _can_raise_limits() -> bool:
    """Return whether our processes may have the limits that container engines request."""
    probe = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (1048576, 1048576))"
    return subprocess.run(["python3", "-c", probe], capture_output=True, check=False).returncode == 0


# Parallel steps may need the same image.
_MAKING = threading.Lock()


def ensure(image: Image, folder: pathlib.Path, environment: dict[str, str]) -> bool:
    """Make ``image`` unless podman has it; return whether it was made.

    The root file system is kept in ``folder``.
    """
    with _MAKING:
        return _make(image, folder, environment)


def _make(image: Image, folder: pathlib.Path, environment: dict[str, str]) -> bool:
    if _label(image, environment) == image.recipe:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{image.suite}-{image.recipe}.tar"
    if not archive.exists():
        part = archive.with_suffix(".part.tar")
        subprocess.run(
            [
                "mmdebstrap",
                "--quiet",
                "--variant=minbase",
                f"--include={','.join(image.packages.split())}",
                image.suite,
                part,
            ],
            check=True,
        )
        os.replace(part, archive)
    subprocess.run(
        ["podman", "import", "--quiet", "--change", f"LABEL recipe={image.recipe}", archive, image.name],
        check=True,
        env=environment,
    )
    return True


def _label(image: Image, environment: dict[str, str]) -> str:
    found = subprocess.run(
        ["podman", "image", "inspect", "--format", '{{index .Config.Labels "recipe"}}', image.name],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    return found.stdout.strip()
