# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The CUDA toolkits that can be installed from wheels: their files, drivers and GPUs."""

from __future__ import annotations

import dataclasses
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda.architectures import ARCHITECTURES


@dataclasses.dataclass(frozen=True)
class Wheel:
    """A wheel; ``sha256`` maps the machine (``uname -m``) to the checksum."""

    project: str
    version: str
    sha256: typing.Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Release:
    """An installable toolkit; ``version`` is the one that its nvcc prints.

    Its machine code runs from ``oldest_driver`` on, by CUDA's minor version compatibility. Its PTX does not, because
    a driver compiles no PTX newer than itself: that needs ``oldest_ptx_driver``, which is 0 if unknown.
    """

    version: str
    oldest_driver: int
    oldest_ptx_driver: int
    architectures: tuple[str, ...]
    wheels: tuple[Wheel, ...]


def parse_wheels(text: str) -> tuple[Wheel, ...]:
    """Parse blocks of ``project==version`` followed by lines of ``machine sha256``."""
    wheels: list[tuple[str, str, dict[str, str]]] = []
    for line in text.split("\n"):
        words = line.split()
        if len(words) == 1:
            project, _equals, version = words[0].partition("==")
            wheels.append((project, version, {}))
        elif words:
            wheels[-1][2][words[0]] = words[1]
    return tuple(Wheel(project, version, sums) for project, version, sums in wheels)


# The packages of cuda-toolkit on PyPI with the extras nvcc, cudart, cccl and cublas. cuBLAS loads NVRTC at run time.
_CUDA_13_0 = """
nvidia-cuda-nvcc==13.0.88
  x86_64 56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03
  aarch64 c7ff28f86a24effdc6c034fa15230c549a273e4771b10a7fec14996f8cf3307f
nvidia-nvvm==13.0.88
  x86_64 c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0
  aarch64 c4376a291d72d22a315d9d2f69bdae8f8cd83a627f75bad395cee49a0fe65dc1
nvidia-cuda-crt==13.0.88
  x86_64 2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4
  aarch64 ee2ea2a97073e02ee62bb27841f437332be2c248e3eac013df07997ada39c003
nvidia-cuda-cccl==13.0.85
  x86_64 e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649
  aarch64 6f0203e29fed809ee2b7fe9b1344df66ecab990c37d6a2e0e189b26d6c97ed7c
nvidia-cuda-runtime==13.0.96
  x86_64 7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
  aarch64 ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55
nvidia-cuda-nvrtc==13.0.88
  x86_64 ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575
  aarch64 d27f20a0ca67a4bb34268a5e951033496c5b74870b868bacd046b1b8e0c3267b
nvidia-cublas==13.1.1.3
  x86_64 37936a16db8fe4ac1f065c2139360608a543a09275cb1a1af612e08cfa065436
  aarch64 b7a210458267ac818974c53038fbec2e969d5c99f305ab15c72522fa9f001dd5
"""

_CUDA_13_5 = """
nvidia-cuda-nvcc==13.5.37
  x86_64 f5c4f7ead5d964fb4af42bbf1e6d3ec3c1e6e9d83b53749f691d387e7fcaa3a7
  aarch64 588eda18eb5076ae859fe272844b526459228af22df0b117f54eec3aa82bc9c8
nvidia-nvvm==13.5.37
  x86_64 c41bfa362e407405163f103c2229f0765f8cc2ed7d148b754dc77f228bf7e070
  aarch64 b659bd3115b7ac7ec8931e67d0e2c0dd09cd35b08a6a7372df6f8f22c67da80a
nvidia-cuda-crt==13.5.37
  x86_64 e898b7f73d3035fa89915a3f7bf3b54a73e90249746111aed295822c4729bb29
  aarch64 9ed2c565fdf3244fa6719769a80a466b85bfd4b1467ea339353bc91c971d09e0
nvidia-cuda-cccl==13.3.5.0.6
  x86_64 d5230098fa2df5021e1a00c0c4eee41797671a91119d31e892463e5ccf3ee326
  aarch64 6f30b8076b3e69951c459c94ae190bde51924b320076ebaec376d36848b4c76e
nvidia-cuda-runtime==13.5.37
  x86_64 df2b79a8852f10d1fef8c848489c49eebb5754051bf870202a862831412b179d
  aarch64 de2dc5a7367974228b0a69588a9acc9340d3768bef1bf38bf0801eb08497cd2d
nvidia-cuda-nvrtc==13.5.37
  x86_64 86b4d68058807988b7d9af5b44917a0601e9c337f35ccd657bfb3c759ff8d8bc
  aarch64 36e4fa2a8ada293f5693d308e531c196ab6f91cf7a0ff479bf96a537d43a6096
nvidia-cublas==13.10.0.20
  x86_64 dcc6d63884c53d07e267ce7e6feac17b2538cebaafec5db865736c3e28e4dc84
  aarch64 c5f3418c0a845232a8cabc58f6fa52cfae7d8bd3680d94c3907aca710fd48d70
"""

# By major.minor, newest first.
RELEASES: typing.Mapping[str, Release] = {
    "13.5": Release("13.5.37", 580, 0, ARCHITECTURES["13.5"], parse_wheels(_CUDA_13_5)),
    "13.0": Release("13.0.88", 580, 580, ARCHITECTURES["13.0"], parse_wheels(_CUDA_13_0)),
}
