# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import os
import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import proof as server_proof
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof.proof import Candidate, ModelFacts
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation
from ansible_collections.llama_fleet.core.tests.unit.fakes import gguf as fake_gguf
from ansible_collections.llama_fleet.core.tests.unit.fakes.options import CPU, CUDA
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options


def header(path: pathlib.Path, trained: int, claimed: int = 0) -> pathlib.Path:
    tensors = [fake_gguf.tensor("token_embd.weight", (claimed,))] if claimed else []
    path.write_bytes(
        fake_gguf.gguf(fake_gguf.LLAMA, fake_gguf.number("llama.context_length", trained), tensors=tensors)
    )
    return path


def noted(facts: ModelFacts, model: pathlib.Path) -> Generation:
    return Generation(1, pathlib.Path("/nowhere"), {"model": str(model), **facts.notes})


def test_a_model_is_not_read_again_while_it_is_the_same_file(tmp_path: pathlib.Path) -> None:
    model = header(tmp_path / "m.gguf", 8192)
    facts = server_proof.model_facts(str(model))
    assert facts.context_length == 8192
    known = dataclasses.replace(noted(facts, model), manifest={**noted(facts, model).manifest, "context_length": 77})
    assert server_proof.model_facts(str(model), known).context_length == 77
    os.utime(model, (5, 5))
    assert server_proof.model_facts(str(model), known).context_length == 8192
    other = header(tmp_path / "other.gguf", 4096)
    assert server_proof.model_facts(str(other), known).context_length == 4096


def test_every_file_of_a_model_has_to_be_whole(tmp_path: pathlib.Path) -> None:
    first = header(tmp_path / "m-00001-of-00002.gguf", 8192)
    header(tmp_path / "m-00002-of-00002.gguf", 8192, claimed=1024)
    with pytest.raises(
        ProblemError, match=r"llama_server_model: expected .*, found .* of .* bytes in .*m-00002-of-00002.gguf"
    ):
        server_proof.model_facts(str(first))


@pytest.mark.parametrize(
    ("ctx_size", "trained", "extra", "wrong"),
    [
        (8192, 8192, {}, False),
        (8193, 8192, {}, True),
        (8193, 0, {}, False),
        (8193, 8192, {"rope-scaling": "yarn"}, False),
        (8193, 8192, {"rope_freq_scale": 0.5}, False),
        (8193, 8192, {"yarn_orig_ctx": 8192}, False),
        (8193, 8192, {"override-kv": "llama.context_length=int:16384"}, False),
        (8193, 8192, {"warmup": False}, True),
    ],
)
def test_more_context_than_trained_for_is_wrong_unless_it_is_stretched(
    ctx_size: int, trained: int, extra: dict[str, typing.Any], wrong: bool
) -> None:
    options = dataclasses.replace(CPU, ctx_size=ctx_size, extra_options=extra)
    assert bool(server_proof.context_problems(options, ModelFacts(trained))) is wrong


def test_a_context_of_0_is_the_model_s_own(tmp_path: pathlib.Path) -> None:
    model = header(tmp_path / "m.gguf", 8192)
    own = dataclasses.replace(CPU, ctx_size=0, model=str(model))
    assert server_proof.with_own_context(own).ctx_size == 8192
    facts = server_proof.model_facts(str(model))
    known = dataclasses.replace(noted(facts, model), manifest={**noted(facts, model).manifest, "context_length": 77})
    assert server_proof.with_own_context(own, known).ctx_size == 77
    given = dataclasses.replace(own, ctx_size=512)
    assert server_proof.with_own_context(given) is given


@pytest.mark.parametrize("content", [None, b"", b"no model"])
def test_a_model_that_is_not_there_or_is_none_has_no_context_yet(content: bytes | None, tmp_path: pathlib.Path) -> None:
    if content is not None:
        (tmp_path / "m.gguf").write_bytes(content)
    own = dataclasses.replace(CPU, ctx_size=0, model=str(tmp_path / "m.gguf"))
    assert server_proof.with_own_context(own) is own


def test_a_model_that_states_no_context_needs_a_number(tmp_path: pathlib.Path) -> None:
    own = dataclasses.replace(CPU, ctx_size=0, model=str(header(tmp_path / "m.gguf", 0)))
    options = server_proof.with_own_context(own)
    assert [str(each) for each in server_proof.context_problems(options, ModelFacts(0))] == [
        "llama_server_ctx_size: expected a number of tokens, found 0, and a header of m.gguf that states no context."
    ]


class Gpu(FakeRunner):
    """A server that lists a GPU whose memory is mostly held by our other process; other programs give no answer."""

    def answer(self, command: list[str]) -> Result:
        return (
            Result(0, "  CUDA0: NVIDIA H200 (143771 MiB, 3000 MiB free)\n", "")
            if command[-1] == "--list-devices"
            else Result(127, "", "")
        )


def candidate(options: Options, pids: tuple[int, ...] = ()) -> Candidate:
    return Candidate(
        options,
        True,
        ("/r/bin/llama-server", "--api-key-file", str(options.key_file)),
        {"LLAMA_ARG_DEVICE": "CUDA0"},
        (),
        pids,
    )


def test_what_the_present_process_holds_of_a_gpu_counts_as_free() -> None:
    asked = (Gpu(), {"CUDA0": 90000, "Host": 100}, ["CUDA0", "Host"])
    assert server_proof.free_memory(candidate(CUDA), *asked)["CUDA0"] == 3000
    assert server_proof.free_memory(candidate(CUDA, (1,)), *asked)["CUDA0"] == 93000
    assert "CUDA0" not in server_proof.free_memory(candidate(CPU), *asked)


def test_a_need_beyond_what_is_free_is_refused_or_said() -> None:
    assert server_proof.prove_again(candidate(CUDA, (1,)), Gpu(), {"CUDA0": 93000}, {"CUDA0": 90000}).problem is None
    with pytest.raises(ProblemError, match=r"memory: expected .*, found 93001 MiB of CUDA0 with 93000 MiB free"):
        server_proof.prove_again(candidate(CUDA, (1,)), Gpu(), {"CUDA0": 93001}, {"CUDA0": 90000})
    unchecked = server_proof.prove_again(
        candidate(dataclasses.replace(CUDA, memory_check=False)), Gpu(), {"CUDA0": 93001}, {}
    )
    assert (unchecked.problem, len(unchecked.warnings)) == (None, 1)


def test_the_configuration_is_tested_without_the_key_that_is_not_there_yet() -> None:
    run = Gpu()
    server_proof.prove(candidate(dataclasses.replace(CPU, release="")), run, None, {})
    assert run.commands == [], "there is no release to ask"
    server_proof.prove_again(candidate(CPU), run, {}, {})
    assert run.commands == [["/r/bin/llama-server", "--list-devices"]]


def test_the_configuration_is_tested_without_the_folder_for_slots_that_is_made_at_the_start() -> None:
    run, path = Gpu(), "/var/lib/llama-fleet/instances/default/slots"
    options = dataclasses.replace(CPU, extra_options={"slot-save-path": path})
    asked = dataclasses.replace(candidate(options), command=("/s", "--slot-save-path", path, "--top-k", "3"))
    server_proof.prove_again(asked, run, {}, {})
    assert run.commands == [["/s", "--top-k", "3", "--list-devices"]]


def test_the_configuration_is_tested_with_empty_values() -> None:
    run = Gpu()
    asked = dataclasses.replace(candidate(CPU), command=("/s", "--grammar", "", "--seed", "1"))
    server_proof.prove_again(asked, run, {}, {})
    assert run.commands == [["/s", "--grammar", "", "--seed", "1", "--list-devices"]]


def test_the_configuration_is_tested_without_workers_because_they_serve_one_server_at_a_time() -> None:
    run = Gpu()
    options = dataclasses.replace(CUDA, devices=("CUDA0", "RPC0"), extra_options={"rpc": "a:1"})
    variables = {"LLAMA_ARG_RPC": "a:1", "LLAMA_ARG_DEVICE": "CUDA0,RPC0"}
    asked = dataclasses.replace(candidate(options), variables=variables)
    server_proof.prove_again(asked, run, {"CUDA0": 1}, {})
    assert run.environments == [{"LLAMA_ARG_DEVICE": "CUDA0"}] * 2
