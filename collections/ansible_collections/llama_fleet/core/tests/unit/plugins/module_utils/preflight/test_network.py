# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import Package
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight import network as preflight_network
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.network import Place, Repo
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.web import Reply, SilentError
from ansible_collections.llama_fleet.core.tests.unit.fakes.preflight import HUB, INDEX, Network, page
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner
from ansible_collections.llama_fleet.core.tests.unit.fakes.site_network import leave_network

SUM = "5e" * 32
FILE = "https://files.example/a.gguf"
PLACE = Place("model", "gguf_model_source", FILE)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    leave_network(monkeypatch)
    return Network()


@pytest.mark.parametrize(
    ("reply", "severity", "found"),
    [
        (Reply(206, size=5_000_000), "ok", f"{FILE} answers"),
        (Reply(200), "ok", f"{FILE} answers"),
        (Reply(404), "error", f"HTTP status 404 from {FILE}"),
        (Reply(407), "error", f"HTTP status 407 from {FILE}"),
        (None, "error", f"no answer from {FILE} (refused)"),
    ],
)
def test_a_file(network: Network, reply: Reply | None, severity: str, found: str) -> None:
    if reply:
        network.replies[FILE] = reply
    answer = preflight_network.file(network, PLACE)
    assert (answer.check.code, answer.check.subject, answer.check.severity, answer.check.found) == (
        "model",
        "gguf_model_source",
        severity,
        found,
    )
    assert answer.size == (5_000_000 if reply and reply.size else None)


def test_a_certificate_that_is_not_trusted_has_a_cure_of_its_own() -> None:
    def ask(
        url: str, headers: typing.Mapping[str, str] | None = None, listing: bool = False, endpoint: str = ""
    ) -> Reply:
        raise SilentError(f"no answer from {url} ([SSL: CERTIFICATE_VERIFY_FAILED] {headers} {listing} {endpoint})")

    assert "update-ca-certificates" in preflight_network.file(ask, PLACE).check.fix


def test_a_proxy_is_named_without_its_password(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://me:s3cr3t@proxy.example:3128")
    network.replies[FILE] = Reply(206)
    assert (
        preflight_network.file(network, PLACE).check.found
        == f"{FILE} answers, through the proxy http://proxy.example:3128"
    )
    monkeypatch.setenv("no_proxy", "files.example")
    assert preflight_network.file(network, PLACE).check.found == f"{FILE} answers"


# -- a package index ---------------------------------------------------------------------------------


INDEX_PLACE = Place("index", "llama_cpp_index_url", INDEX)


def package(network: Network) -> preflight_network.Answer:
    return preflight_network.package(network, INDEX_PLACE, Package("Some-Thing", "1.2"), SUM)


def test_a_package_is_found_by_its_sum_and_its_files_server_is_asked_too(network: Network) -> None:
    network.replies[f"{INDEX}/some-thing/"] = page(thing=(SUM, 7_000_000))
    answer = package(network)
    assert (answer.check.severity, answer.check.found, answer.size) == (
        "ok",
        f"{INDEX} has Some-Thing 1.2, 7 MB",
        7_000_000,
    )
    assert [url for url, _headers in network.asked] == [f"{INDEX}/some-thing/", "https://index.example/files/thing"]
    assert network.asked[0][1]["Accept"] == "application/vnd.pypi.simple.v1+json"


def test_an_index_without_sums_will_do_where_the_sum_is_checked_later(network: Network) -> None:
    network.replies[f"{INDEX}/some-thing/"] = page(thing=("", 7_000_000))
    assert package(network).check.severity == "ok"
    strict = preflight_network.package(network, INDEX_PLACE, Package("Some-Thing", "1.2"), SUM, strict=True)
    assert strict.check.severity == "error"


@pytest.mark.parametrize(
    ("index", "trusted", "severity"),
    [
        ("http://10.0.0.1:8080/simple", "", "error"),
        ("http://10.0.0.1:8080/simple", "other 10.0.0.1", "ok"),
        ("http://10.0.0.1:8080/simple", "10.0.0.1:8080", "ok"),
        ("http://127.0.0.1:8080/simple", "", "ok"),
        ("http://localhost/simple", "", "ok"),
    ],
)
def test_pip_passes_over_an_index_without_tls(
    network: Network, monkeypatch: pytest.MonkeyPatch, index: str, trusted: str, severity: str
) -> None:
    monkeypatch.setenv("PIP_TRUSTED_HOST", trusted)
    network.replies.update({f"{index}/some-thing/": page(thing=(SUM, 1)), index.rpartition("/")[0]: Reply(206)})
    asked = preflight_network.package(
        network, Place("index", "llama_cpp_index_url", index), Package("some-thing", "1"), SUM, strict=True
    )
    assert asked.check.severity == severity


@pytest.mark.parametrize(("status", "passing"), [(404, False), (403, False), (429, True), (503, True)])
def test_trouble_that_passes_is_told_apart(network: Network, status: int, passing: bool) -> None:
    network.replies[FILE] = Reply(status)
    assert preflight_network.file(network, PLACE).passing is passing


@pytest.mark.parametrize(
    ("replies", "found"),
    [
        ({}, f"no answer from {INDEX}/some-thing/ (refused)"),
        ({f"{INDEX}/some-thing/": Reply(404)}, f"HTTP status 404 from {INDEX}/some-thing/"),
        (
            {f"{INDEX}/some-thing/": Reply(200, b"<html>")},
            f"an answer of {INDEX}/some-thing/ that is not a valid index page (the page is not JSON)",
        ),
        (
            {f"{INDEX}/some-thing/": Reply(200, b"[]")},
            f"an answer of {INDEX}/some-thing/ that is not a valid index page (the page is a list, expected an object)",
        ),
        (
            {f"{INDEX}/some-thing/": page(thing=("00" * 32, 1))},
            f"{INDEX}, which has no file of Some-Thing 1.2 with sha256 {SUM}",
        ),
        (
            {f"{INDEX}/some-thing/": page(thing=(SUM, 1)), "https://index.example/files/": Reply(403)},
            f"{INDEX}, and HTTP status 403 from https://index.example/files/thing for a file of it",
        ),
    ],
)
def test_an_index_that_will_not_do(network: Network, replies: dict[str, Reply], found: str) -> None:
    network.replies.update(replies)
    answer = package(network)
    assert (answer.check.code, answer.check.severity, answer.check.found) == ("index", "error", found)


# -- the Hub -----------------------------------------------------------------------------------------

TREE = f"{HUB}/api/models/a/b/tree/main"
HUB_PLACE = Place("hub", "gguf_model_endpoint", HUB)


def tree(*paths: str) -> Reply:
    return Reply(200, json.dumps([{"type": "file", "path": path, "size": 4_000_000} for path in paths]).encode())


def asked(network: Network, quant: str | None = "", token: str = "") -> preflight_network.Answer:
    return preflight_network.hub(network, HUB_PLACE, Repo("a/b", "main", quant, token))


def test_a_model_on_the_hub_is_chosen_and_its_bytes_asked_for(network: Network) -> None:
    network.replies.update({TREE: tree("m-Q8_0.gguf", "m-Q4_K_M.gguf"), f"{HUB}/a/b/resolve/main/": Reply(206)})
    answer = asked(network, token="hf_s3cr3t")
    assert (answer.check.severity, answer.check.found, answer.size) == (
        "ok",
        f"{HUB} answers; 'a/b' has Q4_K_M, 4 MB",
        4_000_000,
    )
    assert network.asked[-1] == (f"{HUB}/a/b/resolve/main/m-Q4_K_M.gguf", {"Authorization": "Bearer hf_s3cr3t"})
    assert "s3cr3t" not in repr((answer, HUB_PLACE, Repo("a/b", "main", "", "hf_s3cr3t")))
    assert asked(network, None).size is None


NO_HUB = f"an answer of {HUB} that no Hub gives"


@pytest.mark.parametrize(
    ("replies", "quant", "token", "code", "subject", "found"),
    [
        ({}, "", "", "hub", "gguf_model_endpoint", f"no answer from {TREE}?recursive=true (refused)"),
        ({TREE: Reply(429)}, "", "", "hub", "gguf_model_endpoint", f"HTTP status 429 from {HUB} for 'a/b'"),
        ({TREE: Reply(404)}, "", "", "hub", "gguf_model_source", f"HTTP status 404 from {HUB} for 'a/b'"),
        (
            {TREE: Reply(401, code="RepoNotFound")},
            "",
            "",
            "hub",
            "gguf_model_source",
            f"HTTP status 401 (RepoNotFound) from {HUB} for 'a/b'",
        ),
        ({TREE: Reply(200, b"<html>")}, "", "", "hub", "gguf_model_endpoint", f"{NO_HUB} (the listing is not JSON)"),
        (
            {TREE: Reply(200, b'{"a": 1}')},
            "",
            "",
            "hub",
            "gguf_model_endpoint",
            f"{NO_HUB} (the repository has no siblings)",
        ),
        ({TREE: tree("m-Q8_0.gguf")}, "Q4_0", "", "model", "gguf_model_quant", "'Q4_0', which is not in 'a/b'"),
        (
            {TREE: tree("m-Q8_0.gguf"), f"{HUB}/a/b/resolve/": Reply(401, code="GatedRepo")},
            "",
            "",
            "hub",
            "gguf_model_token",
            f"no token, and HTTP status 401 (GatedRepo) from {HUB} for 'a/b'",
        ),
        (
            {TREE: tree("m-Q8_0.gguf"), f"{HUB}/a/b/resolve/": Reply(403, code="GatedRepo")},
            "",
            "hf_s3cr3t",
            "hub",
            "gguf_model_token",
            f"a token, and HTTP status 403 (GatedRepo) from {HUB} for 'a/b'",
        ),
    ],
)
def test_a_hub_that_does_not_hand_it_out(
    network: Network, replies: dict[str, Reply], quant: str, token: str, code: str, subject: str, found: str
) -> None:
    network.replies.update(replies)
    check = asked(network, quant, token).check
    assert (check.code, check.severity, check.subject, check.found) == (code, "error", subject, found)


# -- git ---------------------------------------------------------------------------------------------

GIT = Place("source", "llama_cpp_source", "https://me:s3cr3t@git.example/llama.cpp")


def test_a_repository_is_asked_by_git_where_there_is_one(network: Network) -> None:
    run = FakeRunner(
        Result(0, "abc HEAD", ""),
        Result(128, "", "fatal: https://me:s3cr3t@git.example/llama.cpp not found\n"),
        Result(124, "", "too long"),
    )
    checks = [preflight_network.repository(network, GIT, True, run, 3.0).check for _turn in range(3)]
    assert [check.severity for check in checks] == ["ok", "error", "error"]
    assert (
        checks[1].found == "'fatal: https://git.example/llama.cpp not found' from git for https://git.example/llama.cpp"
    )
    assert "s3cr3t" not in repr(checks)
    assert [(settings["timeout"], environment) for settings, environment in zip(run.settings, run.environments)] == [
        (3.0, {"GIT_TERMINAL_PROMPT": "0"})
    ] * 3
    assert network.asked == []


@pytest.mark.parametrize(
    ("status", "severity"), [(200, "ok"), (401, "ok"), (404, "error"), (503, "error"), (0, "error")]
)
def test_without_git_its_web_server_is_asked(network: Network, status: int, severity: str) -> None:
    if status:
        network.replies["https://me:s3cr3t@git.example/llama.cpp/info/refs"] = Reply(status)
    run = FakeRunner()
    assert preflight_network.repository(network, GIT, False, run, 3.0).check.severity == severity
    assert run.commands == []


def test_what_only_git_can_reach_waits_for_it(network: Network) -> None:
    check = preflight_network.repository(
        network, Place("source", "llama_cpp_source", "git@git.example:llama.cpp"), False, FakeRunner(), 3.0
    ).check
    assert (check.severity, network.asked) == ("ok", [])


# -- the clock ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("skews", "severity", "found"),
    [
        ([0.4], "ok", "right to the minute"),
        ([-120.0], "ok", "120 s off"),
        ([7200.0, 0.4], "ok", "right to the minute"),
        ([600.0, 7200.0], "warning", "10 min ahead"),
        ([-400_000.0], "warning", "4.6 days behind"),
    ],
)
def test_a_clock_is_as_wrong_as_the_server_that_agrees_best_says(skews: list[float], severity: str, found: str) -> None:
    (check,) = preflight_network.clock(skews)
    assert (check.code, check.severity, check.found) == ("clock", severity, found)


def test_without_an_answer_the_clock_is_not_judged() -> None:
    assert preflight_network.clock([]) == []
