# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A container's environment as role variables."""

import json
import pathlib

import pytest

from llama_fleet.container import record, variables
from llama_fleet.errors import UsageError
from tests.unit.container.fake_volume import CATALOGUE, SETTINGS, SOURCE


def wrong(environment: dict[str, str]) -> list[str]:
    with pytest.raises(UsageError) as caught:
        variables.of(environment, CATALOGUE)
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


def test_a_container_lives_in_its_volumes() -> None:
    values = variables.of({"MODEL": "a/b:Q8_0", "PORT": "9000"}, CATALOGUE)
    roots = {name: value for name, value in values.items() if name.endswith("_root")}
    assert len(roots) == 6
    assert roots.pop("gguf_model_root") == record.STATE
    assert all(str(value).startswith(f"{record.STATE}/") for value in roots.values())
    assert {name: value for name, value in values.items() if not name.endswith("_root")} == {
        "gguf_model_source": "a/b:Q8_0",
        "llama_server_host": "0.0.0.0",
        "llama_server_allow_unauthenticated": True,
        "llama_cpp_source": "git+https://github.com/ggml-org/llama.cpp",
        "llama_server_port": 9000,
        "llama_server_runtime": "exec",
    }


def test_arguments_and_upstreams_variables_are_options_as_all_others_are() -> None:
    arguments = [
        "--top-k",
        "20",
        "-fa",
        "on",
        "--no-warmup",
        "--temp",
        "-1",
        "--x=y z",
        "--control-vector-layer-range",
        "1",
        "20",
    ]
    given = {
        "LLAMA_SERVER_EXTRA_OPTIONS": "props=true",
        "LLAMA_ARG_TOOLS": "all",
        "LLAMA_ARG_EMPTY": "",
        record.ARGUMENTS: json.dumps(arguments),
    }
    assert variables.of({**SETTINGS, **given}, CATALOGUE)["llama_server_extra_options"] == {
        "props": True,
        "LLAMA_ARG_TOOLS": "all",
        "--top-k": "20",
        "-fa": "on",
        "--no-warmup": True,
        "--temp": "-1",
        "--x": "y z",
        "--control-vector-layer-range": ["1", "20"],
    }


def test_arguments_that_are_no_options_are_told_at_once() -> None:
    assert wrong({**SETTINGS, record.ARGUMENTS: json.dumps(["serve", "--top-k", "1", "--top-k", "2"])}) == [
        (
            "'serve': expected llama-server's options, such as --top-k 20, found it before any option "
            "among the container's arguments."
        ),
        "--top-k: expected each option once, found it twice among the container's arguments.",
    ]


def test_what_is_given_wins_except_for_the_runtime() -> None:
    given = {
        **SETTINGS,
        "LLAMA_SERVER_HOST": "::1",
        "GGUF_MODEL_ROOT": "/m",
        "LLAMA_SERVER_RUNTIME": "systemd",
        "LLAMA_CPP_UPDATE": "missing",
    }
    values = variables.of(given, CATALOGUE)
    assert (values["llama_server_host"], values["gguf_model_root"], values["llama_server_runtime"]) == (
        "::1",
        "/m",
        "exec",
    )
    assert (values["llama_cpp_source"], values["llama_cpp_update"]) == (SOURCE, "missing")


def test_a_model_may_be_named_by_the_roles_own_variable() -> None:
    assert variables.of({"GGUF_MODEL_SOURCE": "a/b"}, CATALOGUE)["gguf_model_source"] == "a/b"


@pytest.mark.parametrize("name", ["HF_TOKEN", "GGUF_MODEL_TOKEN", "LLAMA_API_KEY", "LLAMA_SERVER_API_KEY"])
def test_a_secret_may_be_in_a_file(name: str, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "secret"
    file.write_text("s3cr3t\n", encoding="utf-8")
    values = variables.of({**SETTINGS, f"{name}_FILE": str(file)}, CATALOGUE)
    assert values["gguf_model_token" if "TOKEN" in name else "llama_server_api_key"] == "s3cr3t"


def test_a_file_of_keys_has_one_a_line(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "keys"
    file.write_text("one\n\n two \n", encoding="utf-8")
    assert variables.of({**SETTINGS, "LLAMA_SERVER_API_KEYS_FILE": str(file)}, CATALOGUE)["llama_server_api_keys"] == [
        "one",
        "two",
    ]


# Sentences about the values of test_everything_that_is_wrong_is_told_at_once; {folder} is the folder of its files.
ALL_WRONG = [
    (
        "HF_TOKEN_FILE: expected a file that holds the secret, found {folder}/none, which cannot be "
        "read (No such file or directory)."
    ),
    "LLAMA_API_KEY_FILE: expected a file that holds the secret, found {folder}/empty, which is empty.",
    (
        "LLAMA_SERVER_API_KEYS_FILE: expected a file that holds the secret, found {folder}/bytes, "
        "which cannot be read (it is no text)."
    ),
    "GGUF_MODEL_TOKEN_FILE: expected one of GGUF_MODEL_TOKEN and GGUF_MODEL_TOKEN_FILE, found both.",
    "PORT: expected a whole number, found 'http'.",
    (
        "LLAMA_SERVER_PORTS: expected a role's variable in capitals, found a name that no role has. "
        "Fix: Use LLAMA_SERVER_PORT or LLAMA_SERVER_SLOTS."
    ),
    (
        "LLAMA_SERVER_PORT_FILE: expected a role's variable in capitals, found a name that no role "
        "has. Fix: Use LLAMA_SERVER_PORT."
    ),
    "LLAMA_CPP_UPDATE: expected one of always, background, missing, never, found 'sometimes'.",
    (
        "MODEL: expected owner/repo, owner/repo:QUANT, a URL, a wheel or a path, found nothing. Fix: "
        "Run the image with '-e MODEL=owner/repo'."
    ),
]


def test_everything_that_is_wrong_is_told_at_once(tmp_path: pathlib.Path) -> None:
    (tmp_path / "empty").write_text(" \n", encoding="utf-8")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    environment = {
        "PORT": "http",
        "LLAMA_SERVER_PORTS": "1",
        "LLAMA_CPP_UPDATE": "sometimes",
        "HF_TOKEN_FILE": str(tmp_path / "none"),
        "LLAMA_API_KEY_FILE": str(tmp_path / "empty"),
        "LLAMA_SERVER_API_KEYS_FILE": str(tmp_path / "bytes"),
        "GGUF_MODEL_TOKEN": "t0ken",
        "GGUF_MODEL_TOKEN_FILE": "/x",
        "LLAMA_SERVER_PORT_FILE": "/x",
    }
    told = wrong(environment)
    assert sorted(told) == sorted(sentence.format(folder=tmp_path) for sentence in ALL_WRONG)
    assert "t0ken" not in "".join(told)


@pytest.mark.parametrize("environment", [{}, {"MODEL": ""}])
def test_without_a_model_it_is_wrong_usage(environment: dict[str, str]) -> None:
    assert [line.partition(":")[0] for line in wrong(environment)] == ["MODEL"]


def test_what_kubernetes_sets_for_a_service_is_ignored_with_one_warning() -> None:
    links = {
        "LLAMA_SERVER_PORT": "tcp://10.0.0.1:8080",
        "LLAMA_SERVER_SERVICE_HOST": "10.0.0.1",
        "LLAMA_SERVER_SERVICE_PORT": "8080",
        "LLAMA_SERVER_SERVICE_PORT_HTTP": "8080",
        "LLAMA_SERVER_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "LLAMA_SERVER_PORT_8080_TCP_PROTO": "tcp",
        "LLAMA_SERVER_PORT_8080_TCP_PORT": "8080",
        "LLAMA_SERVER_PORT_8080_TCP_ADDR": "10.0.0.1",
        "LLAMA_CPP_GPU_PORT": "tcp://10.0.0.2:80",
    }
    told: list[str] = []
    values = variables.of({**SETTINGS, **links, "PORT": "9000"}, CATALOGUE, told.append)
    assert values["llama_server_port"] == 9000
    assert len(told) == 1
    assert told[0].startswith("LLAMA_CPP_GPU_PORT and 8 more: ignored, because Kubernetes")
    assert variables.of({**SETTINGS, "LLAMA_SERVER_PORT": "9001"}, CATALOGUE, told.append)["llama_server_port"] == 9001
    assert len(told) == 1


def test_every_name_that_is_read_is_known() -> None:
    names = variables.names(CATALOGUE)
    assert {
        "MODEL",
        "LLAMA_CPP_UPDATE",
        "NVIDIA_DRIVER_GPU",
        "HF_TOKEN_FILE",
        "LLAMA_SERVER_API_KEYS_FILE",
        "CUDA_TOOLKIT_VERSION",
    } <= set(names)
    assert "LLAMA_SERVER_PORT_FILE" not in names


@pytest.mark.parametrize(
    ("more", "url"),
    [
        ({}, "https://git.example/llama.cpp"),
        ({"LLAMA_CPP_VERSION": "latest"}, "https://git.example/llama.cpp"),
        ({"LLAMA_CPP_VERSION": "stable"}, "https://git.example/llama.cpp"),
        ({"LLAMA_CPP_VERSION": "b1"}, ""),
        ({"LLAMA_CPP_SOURCE": "pypi:x==1#sha256=0"}, ""),
    ],
)
def test_only_a_channel_moves(more: dict[str, str], url: str) -> None:
    assert variables.moving(variables.of({**SETTINGS, **more}, CATALOGUE)) == url


def test_the_roles_own_build_is_for_those_who_named_none() -> None:
    plain = variables.pinned(variables.of({"MODEL": "a/b", "PORT": "1"}, CATALOGUE), CATALOGUE)
    assert (plain["llama_cpp_source"], plain["llama_server_port"]) == (
        CATALOGUE.variables["llama_cpp_source"].default,
        1,
    )
    for more in ({"LLAMA_CPP_SOURCE": SOURCE}, {"LLAMA_CPP_VERSION": "b1"}):
        assert variables.pinned(variables.of({"MODEL": "a/b", **more}, CATALOGUE), CATALOGUE) == {}


def test_a_model_is_told_by_what_was_asked_for() -> None:
    keys = [
        variables.model_key(variables.of({**SETTINGS, **more}, CATALOGUE))
        for more in ({}, {"CTX_SIZE": "1"}, {"MODEL": "a/c"}, {"GGUF_MODEL_QUANT": "Q4_0"})
    ]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
