# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test that git, pip and other children use the proxies and authorities of this project's own requests."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import typing
import zipfile

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import children, git
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import RefusedError
from ansible_collections.llama_fleet.core.plugins.module_utils.host import commands
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner
from ansible_collections.llama_fleet.core.tests.unit.fakes.site_network import SiteProxy, authority, leave_network

PROXY = "http://me:s3cr%2Ft@proxy.site:3128"
GOOD = commands.Result(0, "", "")


@pytest.fixture(autouse=True)
def no_network_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_network(monkeypatch)


class TestProxyVariables:
    def test_without_a_proxy_nothing_is_set(self) -> None:
        assert children.proxy_variables("https://a.site/", {"no_proxy": "a.site", "http_proxy": ""}) == {}
        with children.environment("https://a.site/") as given:
            assert given == {}

    @pytest.mark.parametrize("url", ["https://b.site/x", "", "ssh://git@a.site/x", "git@a.site:x"])
    def test_both_cases_say_the_same(self, url: str) -> None:
        given = children.proxy_variables(url, {"ALL_PROXY": PROXY, "NO_PROXY": "a.site , *.c.site\t10.0.0.0/8"})
        assert given == {
            **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), PROXY),
            **dict.fromkeys(("all_proxy", "ALL_PROXY"), ""),
            **dict.fromkeys(("no_proxy", "NO_PROXY"), "a.site,.c.site,10.0.0.0/8"),
        }

    @pytest.mark.parametrize(
        ("url", "no_proxy", "rendered"),
        [
            ("https://10.1.2.3/x", "10.0.0.0/8", "10.0.0.0/8,10.1.2.3"),
            ("https://[fd00::5]:8443/x", "fd00::/8", "fd00::/8,fd00::5,[fd00::5]"),
            ("https://a.site:8443/x", "a.site:8443", "a.site:8443,a.site"),
            ("https://me:t0ken@a.site/x", "*", "*"),
            ("http://a.site/x", "b.site", "b.site,a.site"),
        ],
    )
    def test_a_host_that_is_asked_directly_is_named(self, url: str, no_proxy: str, rendered: str) -> None:
        given = children.proxy_variables(url, {"https_proxy": "proxy.site:1", "no_proxy": no_proxy})
        assert (given["no_proxy"], given["https_proxy"], given["http_proxy"]) == (rendered, "http://proxy.site:1", "")

    def test_a_value_that_is_no_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("https_proxy", "http://me:s3cr#t@proxy.site")
        run = FakeRunner()
        with pytest.raises(ProblemError, match="https_proxy") as caught:
            git.list_tags("https://a.site/x", "v", run)
        assert "s3cr" not in str(caught.value)
        assert run.commands == []
        with pytest.raises(RefusedError), children.environment("https://a.site/"):
            pass
        with children.builds(FakeRunner(GOOD)) as runner:
            assert runner(["cmake"], env={"a": "b"}).ok


def test_the_output_of_a_child_has_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", PROXY)
    said = f"Bad proxy {PROXY}\nProxy-Authorization: Basic bWU6czNjci90\nUser me:s3cr/t\n"
    assert children.without_secrets(said) == (
        "Bad proxy http://***@proxy.site:3128\nProxy-Authorization: Basic ***\nUser ***\n"
    )
    with pytest.raises(
        ProblemError, match=r"'fatal: http://\*\*\*@proxy.site' .*, through the proxy http://proxy.site"
    ):
        git.list_tags(
            "https://a.site/x", "v", FakeRunner(commands.Result(128, "", "fatal: http://me:s3cr/t@proxy.site"))
        )
    lines: list[str] = []
    with children.builds(commands.run) as run:
        done = run(["sh", "-c", f"echo {PROXY}; echo $HTTPS_PROXY"], on_line=lines.append)
    assert lines == ["http://***@proxy.site:3128"] * 2
    assert done.stdout.splitlines() == lines


def test_a_library_that_fails_at_some_values_does_not_see_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("NO_PROXY", "[::1]"), ("all_proxy", "socks://a"), ("SSL_CERT_FILE", "/nonexistent")):
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with children.unset():
        assert not {"NO_PROXY", "all_proxy", "SSL_CERT_FILE"} & set(os.environ)
    assert dict(os.environ) == before


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: pathlib.Path) -> typing.Iterator[str]:
    """Serve the folder ``site`` over TLS; the proxy knows the host as models.site."""
    (tmp_path / "site").mkdir()
    handler = functools.partial(Quiet, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = authority().server().wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def proxy() -> typing.Iterator[SiteProxy]:
    with SiteProxy(login="me:s3cr/t").serving() as serving:
        yield serving


def ways(proxy: SiteProxy, served: str, monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[tuple[str, list[str]]]:
    """Yield the address of ``served`` through the proxy and past it, with what the proxy is asked for."""
    port = served.rpartition(":")[2]
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority().certificate)
    monkeypatch.setenv("ALL_PROXY", proxy.url("http", "me:s3cr%2Ft"))
    yield f"https://models.site:{port}", [f"CONNECT models.site:{port}"]
    proxy.asked.clear()
    monkeypatch.setenv("NO_PROXY", "localhost , 127.0.0.0/8")
    yield f"https://{served}", []


def test_git(served: str, proxy: SiteProxy, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    source, bare = tmp_path / "source", tmp_path / "site/x.git"
    author = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    for words in (
        ("init", "--quiet", str(source)),
        ("-C", str(source), *author, "commit", "--quiet", "--allow-empty", "--message", "x"),
        ("-C", str(source), "tag", "b1"),
        ("clone", "--quiet", "--bare", str(source), str(bare)),
        ("-C", str(bare), "update-server-info"),
    ):
        subprocess.run(["git", *words], check=True)
    for address, asked in ways(proxy, served, monkeypatch):
        assert git.list_tags(f"{address}/x.git", "v", commands.run).endswith("\trefs/tags/b1\n")
        assert list(dict.fromkeys(proxy.asked)) == asked
    # What git itself is configured to trust takes precedence.
    (tmp_path / "gitconfig").write_text(f'[http "https://{served}"]\nsslCAInfo = /nonexistent\n', encoding="ascii")
    with pytest.raises(ProblemError, match="SSL CA cert"):
        git.list_tags(f"https://{served}/x.git", "v", commands.run)


def test_pip(served: str, proxy: SiteProxy, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "site/demo"
    page.mkdir()
    name = "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(page / name, "w") as wheel:
        wheel.writestr("demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
        wheel.writestr("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("demo-1.0.dist-info/RECORD", "")
    (page / "index.html").write_text(f'<!DOCTYPE html><html><body><a href="{name}">{name}</a></body></html>', "ascii")
    for number, (address, asked) in enumerate(ways(proxy, served, monkeypatch)):
        target = tmp_path / f"target{number}"
        words = [sys.executable, "-m", "pip", "--no-cache-dir", "--retries=0", "download", "--no-deps", "demo==1.0"]
        with children.environment(address) as network:
            done = commands.run(
                [*words, "--dest", str(target)],
                env={"PIP_INDEX_URL": address, "PIP_CONFIG_FILE": "/dev/null", **network},
                timeout=120,
            )
        assert done.ok, done.stderr
        assert os.listdir(target) == [name]
        assert list(dict.fromkeys(proxy.asked)) == asked


@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake on PATH")
def test_cmake(served: str, proxy: SiteProxy, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site/file").write_text("here", encoding="ascii")
    for number, (address, asked) in enumerate(ways(proxy, served, monkeypatch)):
        got = tmp_path / f"got{number}"
        words = f"file(DOWNLOAD {address}/file {got} TLS_VERIFY ON STATUS status LOG log)"
        (tmp_path / "x.cmake").write_text(f'{words}\nmessage(STATUS "${{status}} ${{log}}")\n', encoding="ascii")
        lines: list[str] = []
        with children.builds(commands.run) as run:
            assert run(["cmake", "-P", str(tmp_path / "x.cmake")], on_line=lines.append).ok
        log = "\n".join(lines)
        assert got.read_text(encoding="ascii") == "here", log
        assert proxy.asked == asked
        # CMake's log has the headers that it sent.
        assert ("Proxy-Authorization: Basic ***" in log) == bool(asked)
        assert "s3cr" not in log


def test_the_file_of_authorities_is_for_others_too_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURL_CA_BUNDLE", authority().certificate)
    with contextlib.ExitStack() as stack:
        given = stack.enter_context(children.environment("https://a.site"))
        path = pathlib.Path(given["SSL_CERT_FILE"])
        assert set(given) == {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o644, 0o755)
        text = path.read_text(encoding="ascii")
        assert pathlib.Path(authority().certificate).read_text(encoding="ascii").strip() in text
        assert text.count("BEGIN CERTIFICATE") > 1
    assert not path.parent.exists()
