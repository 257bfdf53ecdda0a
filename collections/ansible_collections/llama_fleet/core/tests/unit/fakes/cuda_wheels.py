# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A package index with the wheels of a small CUDA toolkit, and an installation from it."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import pathlib
import threading
import typing
import zipfile

from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import releases as cuda_releases
from ansible_collections.llama_fleet.core.plugins.module_utils.cuda import wheels as cuda_wheels
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

COLLECTIONS = str(pathlib.Path(cuda_wheels.__file__).parents[6])
COMPILER = {"bin/nvcc": "#!/bin/sh\n", "bin/nvcc.profile": "TOP = x\n", "nvvm/bin/cicc": "#!/bin/sh\n"}
LIBRARIES = {"lib/libcublas.so.13": "cublas" * 100_000, "include/cublas_v2.h": "\n", ".metadata/.sizes.txt": "1\n"}


def wheel(project: str, contents: typing.Mapping[str, str]) -> bytes:
    packed = io.BytesIO()
    name = project.replace("-", "_")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        members = {f"nvidia/cu13/{path}": text for path, text in contents.items()}
        for member, text in {**members, f"{name}-1.0.dist-info/licenses/License.txt": "terms\n"}.items():
            info = zipfile.ZipInfo(member)
            info.external_attr = (0o100755 if text.startswith("#!") else 0o100644) << 16
            archive.writestr(info, text)
    return packed.getvalue()


class Index:
    """A package index with one wheel per project and machine; ``asked`` lists the requested paths."""

    def __init__(self, wheels: typing.Mapping[str, bytes]) -> None:
        self.asked: list[str] = []
        index = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.asked.append(self.path)
                project = self.path.strip("/").split("/")[-1].removesuffix(".whl")
                body = wheels.get(project)
                if body is None:
                    self.send_error(404)
                    return
                if not self.path.endswith(".whl"):
                    other = {
                        "filename": f"{project}-1.0-py3-none-win_amd64.whl",
                        "url": "/other.whl",
                        "hashes": {"sha256": "0" * 64},
                        "size": 1,
                    }
                    this = {
                        "filename": f"{project}-1.0-py3-none-any.whl",
                        "url": f"/files/{project}.whl",
                        "hashes": {"sha256": sha256(body)},
                    }
                    body = json.dumps({"files": [other, {**this, "size": len(body)}]}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/simple"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def fetched(self) -> list[str]:
        return [path for path in self.asked if path.endswith(".whl")]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


WHEELS = {"nvidia-cuda-nvcc": wheel("nvidia-cuda-nvcc", COMPILER), "nvidia-cublas": wheel("nvidia-cublas", LIBRARIES)}
PINS = tuple(cuda_releases.Wheel(project, "1.0", {"x86_64": sha256(data)}) for project, data in WHEELS.items())
RELEASE = cuda_releases.Release("13.0.1", 580, 580, ("90",), PINS)


def install(
    root: pathlib.Path,
    index: Index,
    prove: typing.Callable[[pathlib.Path], str] = lambda _folder: "13.0",
    release: cuda_releases.Release = RELEASE,
) -> bool:
    return cuda_wheels.install(release, root, index.url, "x86_64", Progress(), prove)
