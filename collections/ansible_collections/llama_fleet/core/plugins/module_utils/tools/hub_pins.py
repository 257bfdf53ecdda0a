# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The lock of the Hub's client that hosts install. Made by ``python -m tests.harness.pins``."""

from __future__ import annotations

from ansible_collections.llama_fleet.core.plugins.module_utils.tools.venv import Pins

# Date of the index query.
MADE = "2026-11-28"
PINS = Pins(
    brings={
        "huggingface_hub==2.4.0": (
            "anyio",
            "click",
            "exceptiongroup",
            "filelock",
            "fsspec",
            "h11",
            "hf-xet",
            "httpcore2",
            "httpx2",
            "huggingface-hub",
            "idna",
            "packaging",
            "pyyaml",
            "tomli",
            "tqdm",
            "truststore",
            "typing-extensions",
        )
    },
    releases=[
        ("anyio", "4.16.0", ""),
        ("click", "8.5.1", ""),
        ("exceptiongroup", "1.3.2", 'python_full_version < "3.11" and sys_platform != "emscripten"'),
        ("filelock", "4.1.0", 'python_full_version < "3.11"'),
        ("filelock", "4.3.1", 'python_full_version >= "3.11"'),
        ("fsspec", "2026.9.0", ""),
        ("h11", "0.16.0", ""),
        ("hf-xet", "1.8.0", ""),
        ("httpcore2", "2.14.0", 'python_full_version < "3.11" and sys_platform != "emscripten"'),
        ("httpcore2", "2.16.2", 'python_full_version >= "3.11" and sys_platform != "emscripten"'),
        ("httpx2", "2.14.0", 'python_full_version < "3.11"'),
        ("httpx2", "2.16.2", 'python_full_version >= "3.11"'),
        ("huggingface-hub", "2.4.0", ""),
        ("idna", "3.20", ""),
        ("packaging", "26.4", ""),
        ("pyyaml", "6.0.4", ""),
        ("tomli", "2.5.0", 'python_full_version < "3.11"'),
        ("tqdm", "4.70.1", ""),
        ("truststore", "0.10.5", ""),
        ("typing-extensions", "4.16.0", ""),
    ],
    wheels={
        "anyio==4.16.0": {"py3-none-any": ("c66ae634e0b8228396b801741beb3294326d4b6102f7bba4041c0dfb58c29026")},
        "click==8.5.1": {"py3-none-any": ("8bb5376d2006950386f8c6427613334a2acadc5f559cb80e638d00b4df957e37")},
        "exceptiongroup==1.3.2": {"py3-none-any": ("41c6a70dfec22050d3d8b43386b059a4dc0bca3f3d40a40971cb206fff1785af")},
        "filelock==4.1.0": {"py3-none-any": ("2ce9818e3e2d8f284c1a964414447ef148d42a5fd5e2a477a7118e574b293ec1")},
        "filelock==4.3.1": {"py3-none-any": ("79e43df8e9fe509cd83a3899a7c186c8077cbbe4d200a1ed3705c2f3bb6bc487")},
        "fsspec==2026.9.0": {"py3-none-any": ("8dd6e646e99ea382bd85f97a45e6b526a442d79423a7dc673f1e2756d05fcb5f")},
        "h11==0.16.0": {"py3-none-any": ("63cf8bbe7522de3bf65932fda1d9c2772064ffb3dae62d55932da54b31cb6c86")},
        "hf-xet==1.8.0": {
            "cp38-abi3-manylinux2014_x86_64.manylinux_2_17_x86_64": (
                "29dab7c904cd1914a0439c6e1306c12c7497c8bd32290fbe563ebf51ca4b6d6d"
            ),
            "cp38-abi3-manylinux_2_28_aarch64": ("8800e3444770f2c630b361bc6d5c6ebb770b7830646cf632fbb79d0e5bbc9e7f"),
            "cp38-abi3-musllinux_1_2_aarch64": ("a584a7b3268da62f23c3187cc7201ca01f7b610985a36b1b6119c66bccb0383c"),
            "cp38-abi3-musllinux_1_2_x86_64": ("1ebaf248c9bef8bb0c9d1d8d71db1fdf0cac14f922cc7a936a81adbf12eb5f01"),
        },
        "httpcore2==2.14.0": {"py3-none-any": ("4c4f64f4b544afeb778c42c0ffb5941b29e671157e90ed3f6dc787c4bca90cd1")},
        "httpcore2==2.16.2": {"py3-none-any": ("16051ae2a42f776007543f32de9349a317b23d2cbb4e1456b4bac0e88b87419a")},
        "httpx2==2.14.0": {"py3-none-any": ("9d20c13a10bae1773a0be3b0f1e5beeb4bdd549bc3a2ba18efa32897c65403e4")},
        "httpx2==2.16.2": {"py3-none-any": ("f05c13aade4c45dbf1c9060647a1058f0acad62398fad96e741269edb33d46f5")},
        "huggingface-hub==2.4.0": {
            "py3-none-any": ("42ecfd93ede47bdd333daebbf66a32d7bfe2e18752754fe4d2d4f98a0179d801")
        },
        "idna==3.20": {"py3-none-any": ("ab7ae7122974553370f0bdb919e1a960b2cd1bc1ef0276416d896db81c14582c")},
        "packaging==26.4": {"py3-none-any": ("81383611a09c1bc0b08b76e0fd5829d7c6824c65b27a6aee339da133f4233ea2")},
        "pyyaml==6.0.4": {
            "cp310-cp310-manylinux2014_aarch64.manylinux_2_17_aarch64.manylinux_2_28_aarch64": (
                "54c23934cf166bb2090d73d82b1388aadb1cead5e73885223dcfa4a459a22d43"
            ),
            "cp310-cp310-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64": (
                "88a089e6424a8a256321270620d5a4328ad5227fb2061b07d33f596894336914"
            ),
            "cp310-cp310-musllinux_1_2_aarch64": ("52460c6dd874b22d49fda228fac59da74d7a7b06175ffcc80bfa3ba5389d7f73"),
            "cp310-cp310-musllinux_1_2_x86_64": ("c24097c0462f66358c99dc83d3e1850e005f6293cfa1df1edb243428da1668bf"),
            "cp311-cp311-manylinux2014_aarch64.manylinux_2_17_aarch64.manylinux_2_28_aarch64": (
                "71bb5b87465d88d1dfc577115af6d435bff9b26f2512936f610c26aa55966028"
            ),
            "cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64": (
                "622aa875fa6533f25fedcffe23079357d65a690d462200afed5d8e9d0e01ebee"
            ),
            "cp311-cp311-musllinux_1_2_aarch64": ("49e38a95e24738908ea852e61df0abc58d1e4d4f974ccdb2386eaee412bedc67"),
            "cp311-cp311-musllinux_1_2_x86_64": ("4d3bbc5e8a84a5a6775adecac786f489510a7159b1c343d6f31426d888cfdd6e"),
            "cp312-cp312-manylinux2014_aarch64.manylinux_2_17_aarch64.manylinux_2_28_aarch64": (
                "45e37dd647db9d67b757444c74060c064ace5fdaa08f42bf4fda3812275d423e"
            ),
            "cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64": (
                "93bfb2459195406a518e2f487a9bbf01df240175f31e06f5a252ac6734c7bbf0"
            ),
            "cp312-cp312-musllinux_1_2_aarch64": ("84e97378010f3da8daf673b82d39ed638098d236a1b760d61c0c1348a642bd70"),
            "cp312-cp312-musllinux_1_2_x86_64": ("f5c410f9e2ffc9286279a46f2e8c107edaf3b1123510af59c828a9c15b23c9db"),
            "cp313-cp313-manylinux2014_aarch64.manylinux_2_17_aarch64.manylinux_2_28_aarch64": (
                "41b4669c3a8fd5750e594dff59d3e62d40e321fec467b50449603710ed0a68f3"
            ),
            "cp313-cp313-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64": (
                "50588147ab2c6a59b5f990a4905db80899a6c2bd197e046a6201f1e67587e794"
            ),
            "cp313-cp313-musllinux_1_2_aarch64": ("4d1e8d6e345b4b4424a05a11e699e999e65a88f422f73636f8a0b354bf219ffa"),
            "cp313-cp313-musllinux_1_2_x86_64": ("a56491babf0d976625807953bd192dd9de973fccb3270e77b1a795b152a26175"),
            "cp314-cp314-manylinux2014_aarch64.manylinux_2_17_aarch64.manylinux_2_28_aarch64": (
                "ed9b957abb12f6ffcd92d5db32fa3ffd4e4a8423d80ddd51b4efa63b42f6a76b"
            ),
            "cp314-cp314-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64": (
                "c604dc2613c417130479cdd6e55c2faa691b6365aa82b3dafddfcecc2eaf1ac7"
            ),
            "cp314-cp314-musllinux_1_2_aarch64": ("f1a4a85b419f5cb6470dd4be5f766bc59532f11b9c22c076b58a0348f05dca5f"),
            "cp314-cp314-musllinux_1_2_x86_64": ("132c3c7c37a8e6f334921b05cfea5d26e241d792dcbb4db0462129d25ca53b43"),
        },
        "tomli==2.5.0": {
            "cp311-cp311-manylinux2014_aarch64.manylinux_2_17_aarch64.manylinux_2_28_aarch64": (
                "86665cee9c4835b7a7f1e8ec2c719b5258d4dc782887aded5a8ae7352a96843b"
            ),
            "cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64": (
                "d7e369fd63331746182360977b1892bfc215476a30d61612d732425311639f56"
            ),
            "cp311-cp311-musllinux_1_2_aarch64": ("7ad1ea345759240d6463efa0ed1c704402752e49aa21476620738d74d72d8aa1"),
            "cp311-cp311-musllinux_1_2_x86_64": ("96243987194634bd411066ce40c952e108f86af04db533ecd8ac3ff2a85b1885"),
            "cp312-cp312-manylinux2014_aarch64.manylinux_2_17_aarch64.manylinux_2_28_aarch64": (
                "bf0b5e8e0f68ebb494356e577c06c139161efd8d3b9050f93b39b7c26cc54ff0"
            ),
            "cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64": (
                "6cf74416bdc94ae458b14e37286c1073081850ac8459a00d0c5efef5d44294c6"
            ),
            "cp312-cp312-musllinux_1_2_aarch64": ("61ea1ebe1e55a34ea8199cc8dbff398d35027b82271c8ac4802fd3a1fd5b1bcc"),
            "cp312-cp312-musllinux_1_2_x86_64": ("ed53f7e89bb04f6d9e8e7799112360b0c4d5cbff067de0814c98c37c39b920f7"),
            "cp313-cp313-manylinux2014_aarch64.manylinux_2_17_aarch64.manylinux_2_28_aarch64": (
                "1245a6638fc4bb0a60af38a7d45413db34a13842027c77597c712c998c62fdf0"
            ),
            "cp313-cp313-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64": (
                "5d8bac3d603c97e6854424e5b2b5b741bdbde387e09f162fb0446812b4a8362b"
            ),
            "cp313-cp313-musllinux_1_2_aarch64": ("21e4cae4114aba25aa0d4f85cdf486d290fb35c0954d7bba536248da64d43066"),
            "cp313-cp313-musllinux_1_2_x86_64": ("bbaefc84548d754be821bba7c4141c4787dda182f9e77f2f87b71213529efa7b"),
            "cp314-cp314-manylinux2014_aarch64.manylinux_2_17_aarch64.manylinux_2_28_aarch64": (
                "6e95c7614e705bfe2b04b27aa124adec59752d15813df37e2156747cab3a006b"
            ),
            "cp314-cp314-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64": (
                "7ac2027d37c3afbdf4bdd377f2676f6f1d2122a5be1f1137b49dced590b37e75"
            ),
            "cp314-cp314-musllinux_1_2_aarch64": ("c414be4ed9d3cac80c42e348fa5a956117d1a48227f48026e31f59cb4a7671eb"),
            "cp314-cp314-musllinux_1_2_x86_64": ("9b03d7dc168353b4132965bde20feceabaa470e570c6f59660dfae59b1f9eeb3"),
            "py3-none-any": ("32a7b79ac57a2e83670ce329ccf675798bc5a2094783a63676866b70503f2e2b"),
        },
        "tqdm==4.70.1": {"py3-none-any": ("c293e525e6fef9c20e8728fd4612df02a0aa31bb5fe91ecd93e123b1b7bffa73")},
        "truststore==0.10.5": {"py3-none-any": ("9aaaedaefaf06d8b206278cf8b5012bc897f485a874503501e12d776df78951c")},
        "typing-extensions==4.16.0": {
            "py3-none-any": ("481caa481374e813c1b176ada14e97f1f67a4539ce9cfeb3f350d78d6370c2e8")
        },
    },
)
