# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test a router: the options that are refused beforehand, and how it passes its gate."""

from __future__ import annotations

import dataclasses
import re
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import gate as server_gate
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.gate import (
    Expected,
    GateError,
    Limit,
    Passed,
    Reply,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import checks as server_checks
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import router as server_router
from ansible_collections.llama_fleet.core.tests.unit.fakes.server_options import WANTED, flags

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

ROUTED = dataclasses.replace(
    WANTED, model="", allow=("router",), tls_certificate="", tls_key="", embeddings=False, rerank=False
)


def routed(folder: pathlib.Path | str, **changes: typing.Any) -> Options:
    return dataclasses.replace(ROUTED, extra_options={"models_dir": str(folder)}, **changes)


def told(options: Options, may_be_missing: bool = False) -> list[str]:
    return [str(problem) for problem in server_checks.model_problems(options, may_be_missing)]


def test_a_router_needs_no_model_but_a_place_of_models(tmp_path: pathlib.Path) -> None:
    assert told(routed(tmp_path)) == []
    assert told(routed(tmp_path / "none"))[0].startswith(
        f"llama_server_extra_options: expected a place of models, found no {tmp_path}/none for models-dir"
    )
    assert told(routed(tmp_path / "none"), may_be_missing=True) == []
    assert told(routed(tmp_path, model=str(tmp_path / "a.gguf")))[0].startswith(
        "llama_server_extra_options: expected one of the two, found models-dir beside llama_server_model"
    )
    assert "llama_server_rerank" in told(routed(tmp_path, rerank=True))[0]
    assert str(tmp_path) in server_mounts.mounts(routed(tmp_path), [])
    assert server_router.variables(routed(tmp_path)) == {"LLAMA_CACHE": "/nonexistent"}
    assert server_router.variables(WANTED) == {}
    preset = tmp_path / "models.ini"
    assert told(dataclasses.replace(ROUTED, extra_options={"models-preset": str(tmp_path)})), "a folder is no file"
    assert (
        "models.ini for models-preset"
        in told(dataclasses.replace(ROUTED, extra_options={"models-preset": str(preset)}))[0]
    )
    preset.touch()
    assert told(dataclasses.replace(ROUTED, extra_options={"models-preset": str(preset)})) == []


def test_its_certificate_is_no_one_elses() -> None:
    variables = {"LLAMA_ARG_SSL_CERT_FILE": "/c.pem", "LLAMA_ARG_SSL_KEY_FILE": "/c.key", "LLAMA_ARG_PORT": "1"}
    words = ["--ssl-cert-file", "/c.pem", "--ssl-key-file", "/c.key"]
    assert server_router.kept(routed("/m"), variables, ["-v"]) == ({"LLAMA_ARG_PORT": "1"}, ["-v", *words])
    assert server_router.kept(routed("/m", model="/m.gguf"), variables, ["-v"]) == (variables, ["-v"])


def test_without_a_model_the_way_to_a_router_is_told_to_those_who_named_it() -> None:
    assert "Name their folder as models-dir in llama_server_extra_options" in told(ROUTED)[0]
    assert (
        "Use gguf_model_result.path"
        in told(dataclasses.replace(ROUTED, allow=(), extra_options={"models-dir": "/"}))[0]
    )
    assert told(ROUTED, may_be_missing=True) == []


PROPS = {"role": "router", "models_autoload": True}
GOOD = {"content": " six, seven", "tokens": [1, 2, 3, 4], "tokens_predicted": 4}


class Router:
    """A router of ``models`` by name and status; it records its requests."""

    def __init__(self, models: dict[str, str], completion: Reply | None = None, **props: typing.Any) -> None:
        rows = [{"id": name, "status": {"value": status}} for name, status in models.items()]
        self.replies = {
            "/health": Reply(200, {}),
            "/props": Reply(200, {**PROPS, **props}),
            "/v1/models": Reply(200, {"data": rows}),
            "/completion": completion or Reply(200, GOOD),
            "/v1/chat/completions": Reply(200, {"choices": [{"message": {"content": "Hi"}}]}),
            "/models/unload": Reply(200, {}),
        }
        self.asked: list[tuple[str, str]] = []

    def ask(self, path: str, payload: typing.Mapping[str, typing.Any] | None, timeout: float) -> Reply:
        del timeout
        if path not in ("/health", "/props", "/v1/models"):
            self.asked.append((path, (payload or {})["model"]))
        return self.replies[path.partition("?")[0]]

    def gate(self, brief: bool = False, prompt: str = "") -> Passed:
        expected = Expected("", 2, 512, server_router.MODE, prompt, brief=brief)
        return server_gate.pass_gate(self.ask, expected, Limit(10, "because"), lambda: "")


def test_one_model_generates_and_is_unloaded_again() -> None:
    router = Router({"a": "unloaded", "b": "unloaded"})
    assert router.gate() == Passed()
    assert router.asked == [("/completion", "a"), ("/models/unload", "a")]


def test_a_model_that_is_loaded_is_asked_and_stays() -> None:
    router = Router({"a": "unloaded", "b": "loaded"})
    assert router.gate(brief=True, prompt="Hi") == Passed("Hi")
    assert router.asked == [("/v1/chat/completions?autoload=false", "b")]


def test_a_router_that_runs_on_is_not_used() -> None:
    router = Router({"a": "unloaded", "b": "loaded", "c": "sleeping"})
    expected = Expected("", 2, 512, server_router.MODE, brief=True, untouched=True)
    assert server_gate.pass_gate(router.ask, expected, Limit(10, "because"), lambda: "") == Passed()
    assert router.asked == []


@pytest.mark.parametrize(("brief", "autoload"), [(True, True), (False, False)])
def test_no_model_is_loaded_without_need_or_without_autoload(brief: bool, autoload: bool) -> None:
    router = Router({"a": "unloaded"}, models_autoload=autoload)
    assert router.gate(brief) == Passed()
    assert router.asked == []


@pytest.mark.parametrize(
    ("router", "reason"),
    [
        (
            Router({"a": "unloaded"}, role="model", model_path="/m.gguf"),
            "it is no router, but serves the model /m.gguf",
        ),
        (Router({}), "it finds no model in the place that llama_server_extra_options names"),
        (Router({"a": ""}, Reply(500, {}, "no memory")), "of its model a: /completion answered 500: no memory"),
        (
            Router({"a": ""}, Reply(200, {**GOOD, "content": "....", "tokens": [1]})),
            "of its model a: it generates nothing but '....'",
        ),
    ],
)
def test_why_a_router_is_not_good(router: Router, reason: str) -> None:
    with pytest.raises(GateError, match=re.escape(reason)):
        router.gate()


def test_an_option_of_a_model_is_not_overridden_by_the_routers(tmp_path: pathlib.Path) -> None:
    preset = tmp_path / "models.ini"
    options = dataclasses.replace(ROUTED, extra_options={"models-preset": str(preset)})
    words = ["--models-preset", str(preset), "--temp", "0.7", "--top-k", "3", "--repeat-penalty", "2"]
    assert server_router.conflicts(options, words, flags()) == []
    preset.write_text(
        "version = 1\ntop-k = 9\n\n[*]\nc = 512\n[one]\nTemp = 1\ntemp = 0.1 ; cold\n[two]\ntemperature=2\n"
    )
    told = [str(problem) for problem in server_router.conflicts(options, words, flags())]
    assert [text.partition("found ")[2].partition(" in ")[0] for text in told] == [
        "temp, which would override that of one",
        "temp, which would override that of two",
    ]
    assert server_router.conflicts(options, words[:2], flags()) == []
    assert server_router.conflicts(dataclasses.replace(options, allow=()), words, flags()) == []
    assert server_router.conflicts(options, words, None) == []
    preset.write_text("[one\ntemp")
    assert server_router.conflicts(options, words, flags()) == []
