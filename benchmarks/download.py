# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""``python benchmarks/download.py`` measures what fetching a model costs.

Run it with the Python of the project's environment. It alternates between the clients, over loopback and from memory to
memory: a file of 2 GiB, and a model of four shards of 512 MiB. CPU seconds include the client's children; memory is
that of its largest process. It uses curl and aria2 (``apt install curl aria2``) if they are installed. The first result
of each client is compared with the source.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime as dt
import hashlib
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import typing

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODULE = ROOT / "collections" / "ansible_collections" / "llama_fleet" / "core" / "plugins" / "modules" / "gguf_model.py"
MEMORY = pathlib.Path("/dev/shm")
CHUNK = 1 << 20
OURS = """
import json, pathlib, sys
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.request import Origin, Wanted
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.segments import fetch_all
files, target = json.loads(sys.argv[1]), pathlib.Path(sys.argv[2])
fetch_all([Wanted(name, sha256, size, target / name, (Origin(url),)) for name, url, sha256, size in files], "source")
"""
HUB_CLIENT = """
import json, sys
from huggingface_hub import hf_hub_download
endpoint, repo, names, target = sys.argv[1:]
for name in json.loads(names):
    hf_hub_download(repo, name, revision="0" * 40, endpoint=endpoint, cache_dir=target, token=False)
"""


@dataclasses.dataclass(frozen=True)
class File:
    name: str
    url: str
    sha256: str
    size: int


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, and the server that has it as the repository ``repo``."""

    title: str
    endpoint: str
    repo: str
    files: list[File]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


@dataclasses.dataclass(frozen=True)
class Cost:
    wall: float
    cpu: float
    memory: int  # bytes


Command = typing.Callable[[Case, pathlib.Path], list[str]]


def ours(case: Case, target: pathlib.Path) -> list[str]:
    return [sys.executable, "-c", OURS, json.dumps([dataclasses.astuple(file) for file in case.files]), str(target)]


def module(case: Case, target: pathlib.Path) -> list[str]:
    """Return the command of the module as Ansible starts it on a host.

    Ansible's own processes are left out, because it does not report their whole cost.
    """
    arguments = target / "arguments"
    given = {
        "source": f"bench/{case.repo}",
        "endpoint": case.endpoint,
        "root": str(target),
        "_ansible_remote_tmp": str(target),
    }
    arguments.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": given}), encoding="utf-8")
    return [sys.executable, str(MODULE), str(arguments)]


def hub_client(case: Case, target: pathlib.Path) -> list[str]:
    names = json.dumps([file.name for file in case.files])
    return [sys.executable, "-c", HUB_CLIENT, case.endpoint, f"bench/{case.repo}", names, str(target)]


def curl(case: Case, target: pathlib.Path) -> list[str]:
    return ["curl", "-sSf", *[word for file in case.files for word in ("-o", str(target / file.name), file.url)]]


def aria2(case: Case, target: pathlib.Path, checksum: bool) -> list[str]:
    listing = target / "list"
    check = "  checksum=sha-256={0.sha256}\n" if checksum else ""
    listing.write_text(
        "".join(f"{{0.url}}\n  out={{0.name}}\n{check}".format(file) for file in case.files), encoding="utf-8"
    )
    return [
        "aria2c",
        "-q",
        "-x8",
        "-s8",
        "--file-allocation=none",
        "--no-conf",
        f"--dir={target}",
        f"--input-file={listing}",
    ]


@dataclasses.dataclass(frozen=True)
class Contender:
    title: str
    program: str
    command: Command

    def is_there(self) -> bool:
        installed = shutil.which(self.program) is not None
        if not installed:
            print(f"{self.program} is not installed: left out", file=sys.stderr)
        return installed


OWN = Contender("ours, sha256 verified", sys.executable, ours)
AS_MODULE = Contender("ours, the whole module `gguf_model`, sha256 verified", sys.executable, module)
CLIENT = Contender("`hf_hub_download`, not verified", sys.executable, hub_client)
CURL = Contender("`curl`, not verified", "curl", curl)
ARIA2 = Contender("`aria2c -x8`, not verified", "aria2c", lambda case, target: aria2(case, target, checksum=False))
ARIA2_CHECKED = Contender(
    "`aria2c -x8`, sha256 verified", "aria2c", lambda case, target: aria2(case, target, checksum=True)
)


def make(folder: pathlib.Path, size: int) -> dict[str, str]:
    """Make random files that begin like a model; return their checksums."""
    names = ["whole/model-Q8_0.gguf", *[f"split/model-Q8_0-{number:05d}-of-00004.gguf" for number in range(1, 5)]]
    sums = {}
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        digest = hashlib.sha256()
        left = size if name.startswith("whole/") else size // 4
        with (folder / name).open("wb") as file:
            block = b"GGUF" + os.urandom(CHUNK - 4)
            while left:
                file.write(block[:left])
                digest.update(block[:left])
                left -= len(block[:left])
                block = os.urandom(CHUNK)
        sums[name] = digest.hexdigest()
    return sums


@contextlib.contextmanager
def served(folder: pathlib.Path, sums: dict[str, str]) -> typing.Iterator[list[Case]]:
    listing = folder / "sums.json"
    listing.write_text(json.dumps(sums), encoding="utf-8")
    command = [sys.executable, str(ROOT / "benchmarks" / "file_server.py"), str(folder), str(listing)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            endpoint = typing.cast("typing.IO[str]", server.stdout).readline().strip()
            yield [case_of(folder, endpoint, repo, sums) for repo in ("whole", "split")]
        finally:
            server.terminate()


def case_of(folder: pathlib.Path, endpoint: str, repo: str, sums: dict[str, str]) -> Case:
    files = []
    for name, sha256 in sums.items():
        if name.startswith(f"{repo}/"):
            bare = name.partition("/")[2]
            files.append(
                File(bare, f"{endpoint}/bench/{repo}/resolve/{'0' * 40}/{bare}", sha256, (folder / name).stat().st_size)
            )
    mebibytes = files[0].size >> 20
    return Case(f"{len(files)} file{'s' if len(files) > 1 else ''} of {mebibytes} MiB", endpoint, repo, files)


def measure(command: Command, case: Case, folder: pathlib.Path, compare: bool) -> Cost:
    target = folder / "target"
    target.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "ANSIBLE_"))}
    environment |= {
        "PYTHONPATH": str(ROOT / "collections"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "LC_ALL": "C.UTF-8",
    }
    words = command(case, target)
    with (folder / "output").open("w+b") as output:
        began = time.monotonic()
        process = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        _pid, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        if process.returncode:
            sys.exit(f"{words[0]} ended with {process.returncode}:\n{output.read().decode(errors='replace')[-2000:]}")
    if compare:
        require_same(case, target)
    shutil.rmtree(target)
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def require_same(case: Case, target: pathlib.Path) -> None:
    digests = set()
    for path in target.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size == case.files[0].size:
            digest = hashlib.sha256()
            with path.open("rb") as file:
                for chunk in iter(lambda: file.read(CHUNK), b""):
                    digest.update(chunk)
            digests.add(digest.hexdigest())
    if digests != {file.sha256 for file in case.files}:
        sys.exit(f"the files in {target} are not those of the source")


def table(case: Case, costs: dict[str, list[Cost]]) -> str:
    lines = [
        "| " + case.title + " | seconds, best | median | MB/s, best | median | CPU-s, best | median | peak MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, each in costs.items():
        walls, cpus = [cost.wall for cost in each], [cost.cpu for cost in each]
        middle = statistics.median(walls)
        rates = f"{case.size / min(walls) / 1e6:.0f} | {case.size / middle / 1e6:.0f}"
        peak = max(cost.memory for cost in each) / 1e6
        lines.append(
            f"| {name} | {min(walls):.1f} | {middle:.1f} | {rates} | {min(cpus):.1f} | {statistics.median(cpus):.1f} "
            f"| {peak:.0f} |"
        )
    return "\n".join(lines)


def verdict(costs: dict[str, list[Cost]]) -> str:
    """Compare the medians with the goals."""
    parts = [f"peak memory {max(cost.memory for cost in costs[OWN.title]) / 1e6:.0f} MB (wanted: under 150)"]
    own = statistics.median(cost.cpu for cost in costs[OWN.title])
    client = statistics.median(cost.cpu for cost in costs[CLIENT.title])
    parts.append(f"{own / client:.2f}x the CPU seconds of hf_hub_download (wanted: at most 0.6)")
    if ARIA2_CHECKED.title in costs:
        checked = statistics.median(cost.wall for cost in costs[ARIA2_CHECKED.title])
        faster = checked / statistics.median(cost.wall for cost in costs[OWN.title])
        parts.append(f"{faster:.2f}x the rate of aria2c with checksum (wanted: at least 1.5)")
    return "Ours: " + ", ".join(parts) + "."


def describe_machine(rounds: int) -> str:
    with contextlib.suppress(OSError):
        models = [
            line.partition(":")[2].strip()
            for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if "model name" in line
        ]
        processor = f"{len(models)} cores of {models[0]}" if models else platform.processor()
        return f"{rounds} rounds, {dt.datetime.now(dt.UTC):%Y-%m-%d}, {processor}, Python {platform.python_version()}."
    return f"{rounds} rounds."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mebibytes", type=int, default=2048, help="size of each of the two models")
    parser.add_argument(
        "--folder",
        type=pathlib.Path,
        default=MEMORY if MEMORY.is_dir() else None,
        help="where both sides keep their files",
    )
    given = parser.parse_args()
    if given.mebibytes < 4 or given.rounds < 1:
        parser.error("at least 4 MiB and one round")
    contenders = [
        contender for contender in (OWN, AS_MODULE, CLIENT, CURL, ARIA2, ARIA2_CHECKED) if contender.is_there()
    ]
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="llama-fleet-") as name:
        folder = pathlib.Path(name)
        needed = 4 * (given.mebibytes << 20)
        if shutil.disk_usage(folder).free < needed:
            sys.exit(
                f"{folder.parent} has less than {needed / 1e9:.0f} GB free: choose another --folder or less --mebibytes"
            )
        with served(folder, make(folder, given.mebibytes << 20)) as cases:
            costs: dict[str, dict[str, list[Cost]]] = {
                case.title: {each.title: [] for each in contenders} for case in cases
            }
            for number in range(given.rounds):
                for case in cases:
                    for each in contenders:
                        costs[case.title][each.title].append(measure(each.command, case, folder, compare=number == 0))
    print(describe_machine(given.rounds))
    for case in cases:
        print(f"\n{table(case, costs[case.title])}\n\n{verdict(costs[case.title])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
