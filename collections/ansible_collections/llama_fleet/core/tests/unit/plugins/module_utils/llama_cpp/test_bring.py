# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test published binaries from a real HTTP server, in archives with the layout of the llama.cpp project."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import pathlib
import tarfile
import threading
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import bring
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp import upstream as llama_cpp_upstream
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.bring import obtain
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import Upstream
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress

SUM, RUNTIME_SUM = "ab" * 32, "cd" * 32
PINNED = Upstream("b11434", SUM, RUNTIME_SUM)
NEW = "glibc 2.39"


class Quiet(http.server.SimpleHTTPRequestHandler):
    asked: typing.ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def url(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[str]:
    """Serve ``tmp_path``/published, and return its URL."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(llama_cpp_upstream, "libc", lambda: NEW)
    Quiet.asked.clear()
    handler = functools.partial(Quiet, directory=str(tmp_path / "published"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def publish(tmp_path: pathlib.Path, name: str, folder: str, files: typing.Mapping[str, str]) -> str:
    """Pack ``files`` as the project does, below one folder (``->x`` for a link to x); return the SHA-256."""
    archive = tmp_path / "published" / "b11434" / name
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as tar:
        for file, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{file}")
            if content.startswith("->"):
                member.type, member.linkname = tarfile.SYMTYPE, content[2:]
            else:
                member.size, member.mode = len(content), 0o755 if file.startswith(("llama-", "lib")) else 0o644
            tar.addfile(member, io.BytesIO(content.encode()))
    return hashlib.sha256(archive.read_bytes()).hexdigest()


PROGRAMS = {
    "llama-server": "server",
    "llama-bench": "bench",
    "llama-cli": "of no use to us",
    "libllama.so.0.6.0": "library",
    "libllama.so.0": "->libllama.so.0.6.0",
    "libllama.so": "->libllama.so.0",
    "libggml-cpu-haswell.so": "variant",
    "LICENSE": "terms",
}
RUNTIME = {"libcudart.so.12": "cudart", "libcublas.so.12": "cublas", "libcublasLt.so.12": "cublasLt"}


def contents(folder: pathlib.Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()
    }


def test_programs_become_a_release(tmp_path: pathlib.Path, url: str) -> None:
    upstream = Upstream("b11434", publish(tmp_path, "llama-b11434-bin-ubuntu-x64.tar.gz", "llama-b11434", PROGRAMS))
    staged = tmp_path / "releases" / ".new-b11434-x"
    obtain(upstream, "cpu", "x86_64", "", tmp_path / "root", staged, Progress(), url)
    assert contents(staged) == {
        **{
            f"bin/{name}": PROGRAMS[name]
            for name in ("llama-server", "llama-bench", "libllama.so.0.6.0", "libggml-cpu-haswell.so")
        },
        "bin/libllama.so.0": "library",
        "bin/libllama.so": "library",
        "licenses/llama.cpp/LICENSE": "terms",
    }
    assert (staged / "bin" / "libllama.so").readlink() == pathlib.Path("libllama.so.0")
    assert (staged / "bin" / "llama-server").stat().st_mode & 0o777 == 0o755
    assert [path.name for path in staged.parent.iterdir()] == [staged.name]


def test_cuda_comes_with_its_libraries_and_is_fetched_once(tmp_path: pathlib.Path, url: str) -> None:
    name = "llama-b11434-bin-ubuntu-cuda-12.8-x64.tar.gz"
    upstream = Upstream(
        "b11434",
        publish(tmp_path, name, "llama-b11434", PROGRAMS),
        publish(tmp_path, f"cudart-{name}", f"cudart-{name[:-7]}", RUNTIME),
    )
    for staged in (tmp_path / "first", tmp_path / "second"):
        obtain(upstream, "cuda", "x86_64", "575.1", tmp_path / "root", staged, Progress(), url)
        assert {"llama-server", *RUNTIME} <= {path.name for path in (staged / "bin").iterdir()}
    assert sorted(set(Quiet.asked)) == [f"/b11434/cudart-{name}", f"/b11434/{name}"]
    assert len(Quiet.asked) == 4, "one request for the size and one for the file, once each"


@pytest.mark.parametrize(
    ("published", "pinned", "message"),
    [
        (
            "llama-b11434-bin-ubuntu-x64.tar.gz",
            "0" * 64,
            "expected sha256 0{64}, found sha256 [0-9a-f]{64} of",
        ),
        ("another.tar.gz", "", "HTTP status 404 from .*/b11434/llama-b11434-bin-ubuntu-x64.tar.gz"),
    ],
)
def test_what_is_not_what_was_asked_for(
    tmp_path: pathlib.Path, url: str, published: str, pinned: str, message: str
) -> None:
    upstream = Upstream("b11434", pinned or publish(tmp_path, published, "llama-b11434", PROGRAMS))
    publish(tmp_path, published, "llama-b11434", PROGRAMS)
    staged = tmp_path / "staged"
    with pytest.raises(ProblemError, match=message) as caught:
        obtain(upstream, "cpu", "x86_64", "", tmp_path / "root", staged, Progress(), url)
    assert caught.value.problems[0].subject == "llama_cpp_source"
    assert not staged.exists()


def test_an_archive_that_changes_after_its_check_is_not_unpacked(
    tmp_path: pathlib.Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "llama-b11434-bin-ubuntu-x64.tar.gz"
    publish(tmp_path, name, "llama-b11434", PROGRAMS)
    pinned = "ab" * 32
    kept = tmp_path / "root" / "sources" / f"{pinned[:16]}.tar.gz"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(next(tmp_path.rglob(name)).read_bytes())
    monkeypatch.setattr(bring, "sha256_of", lambda _path: pinned)
    staged = tmp_path / "staged"
    with pytest.raises(ProblemError, match=r"expected sha256 abab.*Remove that file"):
        obtain(Upstream("b11434", pinned), "cpu", "x86_64", "", tmp_path / "root", staged, Progress(), url)
    assert not staged.exists()


def test_an_archive_of_something_else(tmp_path: pathlib.Path, url: str) -> None:
    upstream = Upstream("b11434", publish(tmp_path, "llama-b11434-bin-ubuntu-x64.tar.gz", "x", {"README": "hello"}))
    with pytest.raises(ProblemError, match="which holds no llama-server"):
        obtain(upstream, "cpu", "x86_64", "", tmp_path / "root", tmp_path / "staged", Progress(), url)


def test_nothing_is_fetched_for_a_host_that_cannot_run_it(tmp_path: pathlib.Path, url: str) -> None:
    with pytest.raises(ProblemError, match=r"NVIDIA driver: expected .*, found version 470\.1"):
        obtain(PINNED, "cuda", "x86_64", "470.1", tmp_path / "root", tmp_path / "staged", Progress(), url)
    assert Quiet.asked == []
