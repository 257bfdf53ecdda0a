# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.servers import (
    Model,
    Server,
    grouped,
    merged,
    parse,
    server_problems,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

ENTRY = {"name": "h1/default", "model": "alpha", "address": "192.0.2.1", "port": 8080, "slots": 4}


def _server(name: str = "h1/default", model: str = "alpha", **more: typing.Any) -> Server:
    return Server(name, model, "192.0.2.1", 8080, 4, **more)


def test_servers_are_sorted_and_have_defaults() -> None:
    assert parse([{**ENTRY, "name": "h2/default"}, ENTRY]) == (_server(), _server("h2/default"))


@pytest.mark.parametrize(
    "change",
    [
        {"name": "h1"},
        {"name": "h 1/default"},
        {"name": "h1/default\n"},
        {"model": "a b"},
        {"model": ""},
        {"address": "192.0.2.1 port 1"},
        {"address": "h1;show"},
        {"port": 0},
        {"port": "8080"},
        {"slots": 0},
        {"weight": 257},
        {"aliases": ["#"]},
    ],
)
def test_a_value_that_could_become_another_directive_is_refused(change: dict[str, typing.Any]) -> None:
    with pytest.raises(ProblemError, match="llama_gateway_servers"):
        parse([{**ENTRY, **change}])


def test_models_have_their_servers_and_aliases() -> None:
    servers = [_server(aliases=("a",)), _server("h2/default", aliases=("b", "a")), _server("h3/default", "beta")]
    assert grouped(servers, {"alpha": ["c"]}) == (
        Model("alpha", tuple(servers[:2]), ("a", "b", "c")),
        Model("beta", (servers[2],)),
    )


def test_a_model_s_back_end_has_a_name_of_its_own() -> None:
    names = ["qwen", "qwen:8b", "qwen/8b", "a" * 100, "a" * 101]
    assert len({Model(name, ()).backend for name in names}) == len(names)
    assert Model("qwen", ()).backend == "model-qwen"


def test_a_name_of_two_models_is_a_problem() -> None:
    models = grouped([_server(aliases=("x",)), _server("h2/default", "beta", aliases=("x",))], {})
    (problem,) = server_problems(models, {})
    assert str(problem) == "llama_gateway_models: expected one model for each name, found 'x' for both alpha and beta."
    models = grouped([_server(aliases=("beta",)), _server("h2/default", "beta")], {})
    assert len(server_problems(models, {})) == 1


def test_an_alias_needs_a_model_and_a_server_comes_once() -> None:
    assert len(server_problems(grouped([_server()], {}), {"gamma": ["x"]})) == 1
    assert len(server_problems(grouped([_server(), _server()], {}), {})) == 1


def test_a_server_is_used_as_it_runs() -> None:
    before, after, new = _server(), _server(weight=50), _server("h2/default")
    assert merged([after, new], [before], ()) == (after, new)
    assert merged([after, new], [before], ("h1/default", "h2/default")) == (before, new)
    assert merged([new], [before], ()) == (new,)


def test_tls_needs_a_name_to_check() -> None:
    (problem,) = server_problems(grouped([_server(tls=True)], {}), {})
    assert "TLS to the address 192.0.2.1 of h1/default" in str(problem)
    named = Server("h1/default", "alpha", "gpu1.example", 8080, 4, tls=True)
    assert server_problems(grouped([named], {}), {}) == []


def test_no_model_s_name_collides_with_the_back_end_of_small_calls() -> None:
    servers = [_server(model="bge"), _server("h2/default", "bge-small"), _server("h3/default", "small-bge")]
    names = [model.backend for model in grouped(servers, {})]
    assert len({*names, *(f"small-{name}" for name in names)}) == 6
