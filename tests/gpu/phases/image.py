# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Phase 8: the image's entrypoint without a container engine, in a plain folder: start, health check, stop, restart."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import time
import typing
import urllib.error
import urllib.request

from tests.gpu.frame import Phase
from tests.gpu.parcel import ROOT
from tests.gpu.session import MARK, FailedError, NotHereError, Run

if typing.TYPE_CHECKING:
    from tests.gpu.journal import Values

USER = 10001  # user of the image
STATE = "var/lib/llama-fleet"
UNCHANGED = "Nothing has changed since the last start"
NOT_SEEN = (
    "that the image is built, and what a container engine adds: its limits, its network, NVIDIA's container toolkit",
)
_BESIDE = 30
_START_SECONDS, _STOP_SECONDS = 120.0, 60.0
_PAUSE = 0.02
# The container's own folders. The rest is the host's, because this root has neither a distribution nor a driver.
# Folders of a host's programs.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OWN = ("tmp", "var", "models", "proc")
# $1 is the root, $2 the user; then come the visible folders up to --, then the command.
_SCRIPT = f"""root=$1 user=$2; shift 2
for path in /*; do
    name=${{path#/}}
    case " {" ".join(_OWN)} " in *" $name "*) continue;; esac
    if [ -L "$path" ]; then ln -sfn "$(readlink "$path")" "$root$path"
    elif [ -d "$path" ]; then mkdir -p "$root$path"; mount --rbind "$path" "$root$path"; fi
done
mkdir -p "$root/proc" "$root/tmp"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
while [ "$1" != -- ]; do mkdir -p "$root$1"; mount --rbind "$1" "$root$1"; shift; done
shift
exec chroot --userspec="$user:$user" --groups= "$root" "$@"
"""


def run(run: Run) -> typing.Iterator[Values]:
    run.install_ansible()
    here = Container(run, run.work / "image")
    if os.geteuid():
        raise NotHereError("mounts want root")
    here.prepare()
    refused = here.refusal()
    if refused:
        raise NotHereError(f"this host lets nobody have mounts of his own: {refused}")
    yield {"user": here.user}
    first = here.once()
    yield {"start": "the first", **first}
    again = here.once()
    yield {"start": "a restart", **again}
    yield from ({"not_seen": what} for what in NOT_SEEN)
    if first["unchanged"] or not again["unchanged"]:
        raise FailedError(
            f"the first start found {'nothing' if first['unchanged'] else 'something'} changed, and so the second: "
            f"{again}"
        )


class Container:
    """A root folder in which the entrypoint is process 1, as it is in a container."""

    def __init__(self, run: Run, place: pathlib.Path) -> None:
        self._run = run
        self._root = place / "root"
        self._code = place / "code"
        self._log = place / "log"
        self.user = USER

    def prepare(self) -> None:
        """Make the root anew, with the code as in the image, and volumes with the release but no earlier start."""
        shutil.rmtree(self._root.parent, ignore_errors=True)
        state = self._root / STATE
        releases = state / "opt/llama-fleet/releases"
        releases.parent.mkdir(parents=True)
        shutil.copytree(self._run.root / "releases", releases, symlinks=True)
        (self._root / "models").mkdir()
        for name in ("src", "collections"):
            shutil.copytree(
                ROOT / name, self._code / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "tests")
            )
        self.user = USER if self._python_is_for(USER) else 0
        for path in [self._root / "models", self._root / STATE, *(self._root / STATE).rglob("*")]:
            os.chown(path, self.user, self.user, follow_symlinks=False)

    def _python_is_for(self, user: int) -> bool:
        """Return whether that user can run this Python, which may be in root's home, with the entrypoint's imports."""
        command = [sys.executable, "-c", "import ansible_runner, llama_fleet.container.entrypoint"]
        try:
            return not subprocess.run(
                command,
                env=self._environment(),
                user=user,
                group=user,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                check=False,
            ).returncode
        except PermissionError:
            return False

    def _environment(self) -> dict[str, str]:
        run = self._run
        passed = {
            name: value
            for name, value in os.environ.items()
            if name == "LD_LIBRARY_PATH" or name.startswith(("CUDA_", "NVIDIA_VISIBLE"))
        }
        return {
            **passed,
            MARK: str(run.work),
            "PATH": f"{run.site / 'bin'}:{SYSTEM_PATH}:{os.environ.get('PATH', '')}",
            "PYTHONPATH": f"{self._code / 'src'}:{self._code / 'collections'}:{run.site}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": f"/{STATE}",
            "USER": "llama-fleet",
            "LC_ALL": "C.UTF-8",
            "MODEL": str(run.model_file(run.models[0])),
            "PORT": str(run.port + _BESIDE),
            "LLAMA_SERVER_HOST": "127.0.0.1",
            "PARALLEL": "1",
            "CTX_SIZE": "1024",
            "LLAMA_CPP_SOURCE": run.source,
            "LLAMA_CPP_INSTALL_PACKAGES": "false",
            "LLAMA_CPP_CMAKE_OPTIONS": ",".join(f"{name}={value}" for name, value in run.cmake_options.items()),
            "CUDA_TOOLKIT_PATH": run.toolkit(),
            "NVIDIA_DRIVER_GPU": "required" if run.gpu else "none",
            "LLAMA_SERVER_N_GPU_LAYERS": "all" if run.gpu else "auto",
        }

    def _command(self, *command: str) -> list[str]:
        """Return ``command`` wrapped to run in the root as process 1."""
        seen = [str(path) for path in (self._run.folder, self._run.work, self._run.root)]
        inside = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-ec",
            _SCRIPT,
            "sh",
        ]
        return [*inside, str(self._root), str(self.user), *seen, "--", *command]

    def refusal(self) -> str:
        """Return why this host cannot have such a root; empty if it can."""
        try:
            done = subprocess.run(
                self._command("true"), env=self._environment(), capture_output=True, text=True, check=False, timeout=60
            )
        except FileNotFoundError as error:
            return str(error)
        return done.stderr.strip()[-500:] if done.returncode else ""

    def once(self) -> dict[str, typing.Any]:
        """Start the entrypoint, wait for its server, run the image's health check, stop it; return what happened."""
        began = time.monotonic()
        with self._log.open("w", encoding="utf-8") as log:
            command = self._command(sys.executable, "-m", "llama_fleet.container.entrypoint")
            outside = subprocess.Popen(
                command, env=self._environment(), cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait(outside, began)
            took = time.monotonic() - began
            first = int(
                pathlib.Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text(encoding="ascii").split()[0]
            )
            health = self._health(first)
            os.kill(first, 15)
            code = outside.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise FailedError(f"the entrypoint's server did not end within {_STOP_SECONDS:g} s") from None
        finally:
            outside.kill()
            outside.wait()
        if health.returncode:
            raise FailedError(
                f"the image's health check ended with {health.returncode}: "
                f"{(health.stdout + health.stderr).strip()[-500:]}"
            )
        return {
            "ready_seconds": round(took, 2),
            "health": health.stdout.strip(),
            "ended_with": code,
            "unchanged": UNCHANGED in self._said(),
        }

    def _wait(self, process: subprocess.Popen[bytes], began: float) -> None:
        while time.monotonic() - began < _START_SECONDS:
            if process.poll() is not None:
                raise FailedError(f"the entrypoint ended with {process.returncode}: {self._said()[-1000:]}")
            with (
                contextlib.suppress(urllib.error.URLError, OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{self._run.port + _BESIDE}/health", timeout=5),
            ):
                return
            time.sleep(_PAUSE)
        raise FailedError(f"no answer within {_START_SECONDS:g} s: {self._said()[-1000:]}")

    def _health(self, first: int) -> subprocess.CompletedProcess[str]:
        """Run the health check as a container engine does: inside, with the container's environment and user."""
        enter = [
            "nsenter",
            "--target",
            str(first),
            "--mount",
            "--pid",
            "--root",
            "--wd=/",
            f"--setuid={self.user}",
            f"--setgid={self.user}",
        ]
        command = [*enter, sys.executable, "-m", "llama_fleet.container.health"]
        return subprocess.run(command, env=self._environment(), capture_output=True, text=True, check=False, timeout=60)

    def _said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace").strip()


PHASE = Phase("image", run, 40, needs=("release",))
