# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT

from __future__ import annotations

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import releases as cuda_releases


def test_the_releases_are_complete() -> None:
    for version, release in cuda_releases.RELEASES.items():
        assert release.version.startswith(f"{version}.")
        assert [each.project.rpartition("-")[2] for each in release.wheels] == [
            "nvcc",
            "nvvm",
            "crt",
            "cccl",
            "runtime",
            "nvrtc",
            "cublas",
        ]
        for each in release.wheels:
            assert set(each.sha256) == {"x86_64", "aarch64"}
            assert all(len(digest) == 64 and int(digest, 16) for digest in each.sha256.values())
        digests = [digest for each in release.wheels for digest in each.sha256.values()]
        assert len(set(digests)) == len(digests)


def test_the_newest_release_comes_first() -> None:
    assert list(cuda_releases.RELEASES) == sorted(
        cuda_releases.RELEASES, key=lambda version: [int(part) for part in version.split(".")], reverse=True
    )
