# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Compare the cost of CUDA code for one GPU with the cost for llama.cpp's default list.

``PYTHONPATH=. python benchmarks/cuda_architectures.py --cuda TOOLKIT`` with the Python of the project's environment. A
whole build for the list takes hours (``benchmarks/build.py --cuda TOOLKIT``), so this compiles every n-th CUDA source
only, once with the module's CMake options and once with the default list. It needs no GPU.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import sys
import tempfile

from benchmarks import build

OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "GGML_CUDA": "ON",
    "GGML_CUDA_NCCL": "OFF",
    "GGML_CUDA_NO_VMM": "ON",
    "GGML_NATIVE": "ON",
    "GGML_CCACHE": "OFF",
}
SMALLER = {"LLAMA_BUILD_TESTS": "OFF", "LLAMA_BUILD_EXAMPLES": "OFF", "LLAMA_USE_PREBUILT_UI": "OFF"}


class Tree:
    """A configured build for some architectures."""

    def __init__(self, bench: build.Bench, name: str, architectures: list[str]) -> None:
        self.bench, self.folder = bench, bench.folder / name
        toolkit, ninja = bench.given.cuda, bench.tools / "ninja"
        options = {
            **OPTIONS,
            **SMALLER,
            "CMAKE_CUDA_ARCHITECTURES": ";".join(architectures),
            "CMAKE_MAKE_PROGRAM": ninja,
        }
        options |= {"CUDAToolkit_ROOT": toolkit, "CMAKE_CUDA_COMPILER": toolkit / "bin" / "nvcc"}
        words = [str(bench.tools / "cmake"), "-S", str(bench.tree), "-B", str(self.folder), "-G", "Ninja"]
        bench.run([*words, *(f"-D{option}={value}" for option, value in options.items())])

    def ninja(self, *words: str) -> tuple[build.Cost, str]:
        return self.bench.run([str(self.bench.tools / "ninja"), "-C", str(self.folder), *words])

    def objects(self) -> list[str]:
        """Return the objects made from CUDA sources."""
        return sorted(re.findall(r"^(\S+\.cu\.o): ", self.ninja("-t", "targets", "all")[1], re.MULTILINE))

    def compile(self, objects: list[str]) -> tuple[build.Cost, int]:
        """Compile the objects; return the cost and their size in bytes."""
        jobs = ["-j", str(self.bench.given.jobs)] if self.bench.given.jobs else []
        cost, _text = self.ninja(*jobs, *objects)
        return cost, sum((self.folder / name).stat().st_size for name in objects)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuda", type=pathlib.Path, required=True, help="folder of a CUDA toolkit")
    parser.add_argument("--every", type=int, default=12, metavar="N", help="compile every n-th of the sources")
    parser.add_argument("--cuda-architecture", default="90-real", help="the GPU's own")
    parser.add_argument("--source", default=build.SOURCE, help="an archive, as llama_cpp_source names it")
    parser.add_argument("--jobs", type=int, default=0, help="compilers at once; 0 is what Ninja chooses")
    parser.add_argument("--folder", type=pathlib.Path, help="where the temporary root is made")
    given = parser.parse_args()
    if given.every < 1 or given.jobs < 0 or not (given.cuda / "bin" / "nvcc").is_file():
        parser.error("--every is 1 or more, --jobs is not negative, and --cuda has bin/nvcc")
    given.next_source = given.source
    return given


def main() -> int:
    given = parse()
    about = build.machine()
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="llama-fleet-") as name:
        bench = build.Bench(pathlib.Path(name), given)
        kinds = {
            "the GPU's own": [given.cuda_architecture],
            "llama.cpp's default list": list(build.DEFAULT_ARCHITECTURES),
        }
        rows: dict[str, tuple[list[str], build.Cost, int]] = {}
        for kind, architectures in kinds.items():
            tree = Tree(bench, f"build-{len(rows)}", architectures)
            everything = tree.objects()
            sample = everything[given.every // 2 :: given.every]
            if not sample:
                sys.exit(f"{len(everything)} CUDA sources are too few for every {given.every}-th of them")
            rows[kind] = (architectures, *tree.compile(sample))
            print(f"{kind}: {rows[kind][1].cpu:.0f} CPU-s", file=sys.stderr)
    print(
        f"{about['date']}, {about['cores']} cores of {about['processor']}, load {about['load']:.1f} before, "
        f"{given.source}"
    )
    print(
        f"{len(sample)} of {len(everything)} CUDA sources: "
        f"{', '.join(pathlib.PurePath(each).name.removesuffix('.o') for each in sample)}"
    )
    print("| architectures | CPU-s | seconds | MB of objects | against the GPU's own |\n|---|---|---|---|---|")
    ours = rows["the GPU's own"][1].cpu
    for kind, (architectures, cost, size) in rows.items():
        print(
            f"| {kind}: {', '.join(architectures)} | {cost.cpu:.0f} | {cost.wall:.0f} | {size / 1e6:.1f} | "
            f"{cost.cpu / ours:.1f}x |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
