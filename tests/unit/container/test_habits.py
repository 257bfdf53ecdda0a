# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test arguments of llama-server and variables of other images in a container."""

import json

import pytest

from llama_fleet.container import habits, record, variables
from llama_fleet.errors import UsageError
from tests.unit.container.fake_volume import CATALOGUE


def of(line: str, **environment: str) -> variables.Values:
    """Return the variables of a container with the arguments in ``line``."""
    return variables.of({**environment, record.ARGUMENTS: json.dumps(line.split())}, CATALOGUE)


def wrong(line: str, **environment: str) -> list[str]:
    with pytest.raises(UsageError) as raised:
        of(line, **environment)
    return str(raised.value).splitlines()


def test_llama_servers_own_line_starts_without_a_variable() -> None:
    values = of("--model /m/x.gguf --host 127.0.0.1 --port 9000 --ctx-size 512 -np 2 -t 3 -ngl all --top-k 20")
    assert {name: values[name] for name in habits._ARGUMENTS if name in values} == {
        "gguf_model_source": "/m/x.gguf",
        "llama_server_host": "127.0.0.1",
        "llama_server_port": 9000,
        "llama_server_ctx_size": 512,
        "llama_server_parallel": 2,
        "llama_server_threads": 3,
        "llama_server_n_gpu_layers": "all",
    }
    assert values["llama_server_extra_options"] == {"--top-k": "20"}


@pytest.mark.parametrize(
    ("flag", "variable"), [(flag, variable) for variable, flags in habits._ARGUMENTS.items() for flag in flags]
)
def test_each_argument_is_a_variable(flag: str, variable: str) -> None:
    text, value = ("7", 7) if CATALOGUE.variables[variable].kind == "int" else ("x", "x")
    values = of(f"{flag} {text}", **({} if variable == "gguf_model_source" else {"MODEL": "a/b"}))
    assert values[variable] == value
    assert "llama_server_extra_options" not in values


@pytest.mark.parametrize(
    ("line", "environment", "sentence"),
    [
        ("--port http", {}, "--port: expected a whole number, found 'http'."),
        ("--ctx-size", {}, "--ctx-size: expected a whole number, found no value."),
        ("--ctx-size 1 2", {}, "--ctx-size: expected a whole number, found several values."),
        ("-c 1 --ctx-size 2", {}, "-c: expected it once among the container's arguments, found another one as well."),
        (
            "--port 1",
            {"PORT": "2"},
            (
                "LLAMA_SERVER_PORT: expected the value among the container's arguments, found another one. "
                "Fix: Remove one."
            ),
        ),
    ],
)
def test_an_argument_that_cannot_be_meant_is_told(line: str, environment: dict[str, str], sentence: str) -> None:
    assert wrong(line, MODEL="a/b", **environment) == [sentence]


def test_the_same_value_twice_is_no_mistake() -> None:
    assert of("--port 9000", MODEL="a/b", PORT="9000")["llama_server_port"] == 9000


@pytest.mark.parametrize(
    ("name", "ours"), [("THREADS", "llama_server_threads"), ("N_GPU_LAYERS", "llama_server_n_gpu_layers")]
)
def test_usual_names_are_known(name: str, ours: str) -> None:
    assert str(of("", MODEL="a/b", **{name: "7"})[ours]) == "7"


@pytest.mark.parametrize("name", habits.OTHERS)
def test_names_of_other_images_are_refused_without_their_values(name: str) -> None:
    [sentence] = wrong("", MODEL="a/b", **{name: "s3cr3t"})
    assert sentence == (
        f"{name}: expected a variable of this image, found one of another. Fix: Use {habits.OTHERS[name]}."
    )
    # A restart notices them as well.
    assert name in variables.names(CATALOGUE)
    ours = habits.OTHERS[name].partition("=")[0]
    assert ours in variables.names(CATALOGUE)
