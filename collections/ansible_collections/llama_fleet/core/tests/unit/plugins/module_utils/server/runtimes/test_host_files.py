# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import handover
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.errors import GateError
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files as server_mounts
from ansible_collections.llama_fleet.core.tests.unit.fakes.options import CPU, CUDA

if typing.TYPE_CHECKING:
    import pathlib


def test_a_container_sees_every_file_that_the_options_name() -> None:
    folder = "/var/lib/llama-fleet/models/ggml-org/big/0a1b2c"
    assert server_mounts.mounts(dataclasses.replace(CUDA, chat_template="/srv/chat.jinja"), []) == [
        CUDA.release,
        f"{folder}/big-Q8_0-00001-of-00002.gguf",
        f"{folder}/big-Q8_0-00002-of-00002.gguf",
        f"{folder}/mmproj-big.gguf",
        "/srv/lora/more polite.gguf",
        "/srv/chat.jinja",
    ]
    assert server_mounts.mounts(dataclasses.replace(CPU, chat_template="chatml"), []) == [CPU.release, CPU.model]


def test_it_sees_the_adapters_and_the_shards_of_a_draft_model() -> None:
    options = dataclasses.replace(CPU, adapters=("/a.gguf:0.5",), draft="/d-00001-of-00002.gguf")
    assert server_mounts.mounts(options, [])[2:] == ["/d-00001-of-00002.gguf", "/d-00002-of-00002.gguf", "/a.gguf"]


@pytest.mark.parametrize("lora", ["/a.gguf:-0.5", "/a.gguf:.25", "/a.gguf"])
def test_a_loras_scale_is_no_part_of_its_path(lora: str) -> None:
    assert server_mounts.public(dataclasses.replace(CPU, lora=(lora,)))[-1] == ("llama_server_lora", "/a.gguf")


def test_files_in_extra_options_are_seen_as_well(tmp_path: pathlib.Path) -> None:
    draft, prompt, key = tmp_path / "draft.gguf", tmp_path / "prompt.txt", tmp_path / "tls-key"
    for path in (draft, prompt, key):
        path.touch()
    options = dataclasses.replace(CPU, tls_key=str(key), tls_certificate=str(key))
    words = [
        str(CPU.server),
        "--model-draft",
        str(draft),
        f"--file={prompt}",
        "--api-prefix",
        "/llm",
        "--ssl-key-file",
        str(key),
        "--model",
        CPU.model,
    ]
    extra = [
        path for variable, path in server_mounts.public(options, words) if variable == "llama_server_extra_options"
    ]
    assert extra == [str(draft), str(prompt)]


def test_what_is_rendered_is_the_same_before_the_copies_of_keys_are_there_and_after(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_mounts, "copies", lambda _options: str(tmp_path))
    options = dataclasses.replace(CPU, api_key="s3cret")
    command = server_mounts.moved(options, [str(CPU.server), "--api-key-file", str(options.key_file)], {})
    before = server_mounts.mounts(options, command)
    (tmp_path / "api-key").touch()
    assert server_mounts.mounts(options, command) == before


def test_a_containers_user_is_nobody_else() -> None:
    users = {server_mounts.container_user(dataclasses.replace(CPU, instance=f"i{number}")) for number in range(50)}
    assert all(60578 <= user < 61184 for user in users)
    assert len(users) > 40
    assert server_mounts.container_user(CPU) == server_mounts.container_user(dataclasses.replace(CPU, port=1))


def test_the_folders_that_a_server_writes_are_its_users_only(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[str, int]] = []
    monkeypatch.setattr(handover, "give", lambda folder, user: given.append((folder, user)))
    options = dataclasses.replace(CPU, state_root=tmp_path / "var" / "state")
    assert server_mounts.state(options) == []
    own = options.state_root / "default"
    folders = server_mounts.state(dataclasses.replace(options, extra_options={"slot-save-path": str(own / "slots")}))
    assert folders == [str(own), str(own / "slots")]
    for _time in range(2):
        server_mounts.make_state(folders, 61017)
    assert [path.stat().st_mode & 0o777 for path in (own.parent, own, own / "slots")] == [0o711, 0o700, 0o700]
    assert given == [(str(own), 61017)] * 2
    server_mounts.make_state([], 61017)
    (tmp_path / "file").touch()
    with pytest.raises(GateError, match=r"/file cannot be made for its slots: File exists"):
        server_mounts.make_state([str(tmp_path / "file" / "a")], 0)
    assert len(given) == 2
