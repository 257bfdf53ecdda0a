# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The real play with a native build beside the instance, with stand-ins for the modules."""

import typing

from tests.unit.plays.fleet import Call, Fleet

HOST: dict[str, typing.Any] = {
    "llama_cpp_source": "there",
    "gguf_model_source": "there",
    "nvidia_driver_gpu": "none",
    "llama_server_port": 8090,
    "llama_server_api_key": "s3cr3t",
    "llama_server_drain_timeout": 7,
}
BACKGROUND = {**HOST, "llama_cpp_method": "background"}


def started(fleet: Fleet, host: str) -> list[Call]:
    return [call for call in fleet.calls(host) if call["module"] == "llama_cpp_native"]


def test_the_native_build_is_started_last_and_without_secrets(fleet: Fleet) -> None:
    several = {"llama_server_instances": {"one": {"llama_server_port": 1}, "two": {"llama_server_port": 2}}}
    hosts = {"single": BACKGROUND, "several": {**BACKGROUND, **several}, "auto": HOST}
    assert fleet.run("site", hosts).exit_code == 0
    assert started(fleet, "auto") == []
    assert fleet.calls("single")[-1]["module"] == "llama_cpp_native"
    (single,) = started(fleet, "single")
    assert (single["build"], single["target"], single["known"]) == ("b1", "t", "")
    given = single["arguments"]
    assert set(given) == {"nvidia_driver", "cuda_toolkit", "llama_cpp", "gguf_model", "llama_server", "plan"}
    assert (given["llama_server"]["drain_timeout"], given["llama_server"]["instance"]) == (7, "default")
    assert given["plan"]["nvidia_driver"]["backend"] == "cpu"
    assert "s3cr3t" not in str(single)
    names = [call["arguments"]["llama_server"]["instance"] for call in started(fleet, "several")]
    assert names == ["one", "two"]
