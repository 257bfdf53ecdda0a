# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test settings for the newest release, one with a flag per load mode, and one before switches had values."""

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release.flags import Flag, Flags
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import render as server_writing
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import table as server_settings
from ansible_collections.llama_fleet.core.tests.unit.fakes.server_options import WANTED, flags

NEW, OLD = "help", "help_old"


def test_all_that_a_release_cannot_do_is_told_at_once_with_its_build() -> None:
    old = Flags(flags(OLD).by_name, "b6123")
    options = dataclasses.replace(
        WANTED,
        backend="cuda",
        split_mode="tensor",
        load_mode="direct",
        log_level="error",
        cors_origins=("https://a.example",),
    )
    with pytest.raises(ProblemError) as error:
        server_writing.split(server_settings.settings(options, 4, ["CUDA0"]), old)
    assert [str(problem) for problem in error.value.problems] == [
        (
            "llama_server_split_mode: expected one of none, layer or row, found tensor, which release "
            "b6123 does not support. Fix: Change it or build a newer release."
        ),
        (
            "llama_server_load_mode: expected the default, found direct, which release b6123 does not support. "
            "Fix: Change it or build a newer release."
        ),
        (
            "llama_server_cors_origins: expected the default, found https://a.example, which release b6123 "
            "does not support. Fix: Change it or build a newer release."
        ),
        (
            "llama_server_log_level: expected the default, found error, which release b6123 does not support. "
            "Fix: Change it or build a newer release."
        ),
    ]


def test_a_release_that_knows_hardly_anything_gets_what_is_basic_and_no_defaults() -> None:
    bare = Flags({"--port": Flag(("--port",), "N", "LLAMA_ARG_PORT"), "--device": Flag(("--device",), "DEVICES")})
    variables, words = server_writing.split(server_settings.settings(WANTED, 4, []), bare)
    assert variables == {"LLAMA_ARG_PORT": "8080", "XDG_CONFIG_HOME": "/nonexistent"}
    assert words[words.index("--device") :][:2] == ["--device", "none"]
    assert {word for word in words if word.startswith("--")} == {
        "--threads", "--device", "--host", "--model", "--alias", "--ctx-size", "--parallel", "--n-predict",
        "--batch-size", "--ubatch-size",
    }  # fmt: skip
    with pytest.raises(ProblemError, match=r"llama_server_timeout: expected .*, found 60"):
        server_writing.split(server_settings.settings(dataclasses.replace(WANTED, timeout=60), 4, []), bare)


@pytest.mark.parametrize(
    ("flag", "on", "off"),
    [
        (Flag(("--slots", "--no-slots")), ({}, ["--slots"]), ({}, ["--no-slots"])),
        (Flag(("--slots",)), ({}, ["--slots"]), ({}, [])),
        (Flag(("--no-slots",)), ({}, []), ({}, ["--no-slots"])),
        (Flag(("--no-slots",), "", "E"), ({}, []), ({"E": "1"}, [])),
        (Flag(("--slots",), "[on|off]", "E"), ({"E": "on"}, []), ({"E": "off"}, [])),
        (Flag(("--slots",), "[on|off]"), ({}, ["--slots", "on"]), ({}, ["--slots", "off"])),
        (Flag(("--slots",), "", "E", removed=True), None, None),
    ],
)
def test_a_switch_in_each_of_its_shapes(
    flag: Flag, on: tuple[dict[str, str], list[str]] | None, off: tuple[dict[str, str], list[str]] | None
) -> None:
    setting = server_settings.Setting("llama_server_slots", "E", "slots", "1", server_settings.SWITCH)
    known = Flags(dict.fromkeys(flag.names, flag))
    for value, wanted in (("1", on), ("0", off)):
        if wanted is None:
            with pytest.raises(
                ProblemError,
                match=r"llama_server_slots: expected .*, found (true|false), which this release does not support",
            ):
                server_writing.split([dataclasses.replace(setting, value=value)], known)
        else:
            assert server_writing.split([dataclasses.replace(setting, value=value)], known) == (
                {**wanted[0], "XDG_CONFIG_HOME": "/nonexistent"},
                wanted[1],
            )


def test_every_setting_and_flag_of_the_table_is_real() -> None:
    """Compare with the help of b11434, because llama-server silently ignores an unknown variable."""
    options = dataclasses.replace(
        WANTED, backend="cuda", split_mode="row", tensor_split=(1.0,), mmproj="/m", tls_certificate="/c", tls_key="/k"
    )
    for template in ("a", "/a"):
        for setting in server_settings.settings(
            dataclasses.replace(options, chat_template=template, lora=("/a",)), 4, ["CUDA0"]
        ):
            known = [flags(NEW).get(name) for name in (setting.flag, *setting.names)]
            assert all(flag is not None and not flag.removed for flag in known), setting
            assert setting.environment in (known[0].environment if known[0] else "", f"--{setting.flag}"), setting


def draft_settings(release: str, **changes: object) -> tuple[dict[str, str], list[str]]:
    options = dataclasses.replace(WANTED, draft="/m/draft.gguf", draft_type="draft-mtp", **changes)
    variables, words = server_writing.split(server_settings.settings(options, 4, []), flags(release))
    return {name: value for name, value in variables.items() if "SPEC" in name}, words


def test_a_draft_model_gets_its_type_unless_extra_options_name_another() -> None:
    both = {"LLAMA_ARG_SPEC_DRAFT_MODEL": "/m/draft.gguf", "LLAMA_ARG_SPEC_TYPE": "draft-mtp"}
    assert draft_settings("help_b11434")[0] == both
    only = {"LLAMA_ARG_SPEC_DRAFT_MODEL": "/m/draft.gguf"}
    for name in ("spec-type", "--spec_type", "LLAMA_ARG_SPEC_TYPE"):
        assert draft_settings("help_b11434", extra_options={name: "draft-simple"})[0] == only
    assert server_settings.draft_type(dataclasses.replace(WANTED, draft_type="draft-mtp")) is None, "no draft model"


def test_adapters_of_both_variables_are_loaded_in_their_order() -> None:
    options = dataclasses.replace(WANTED, lora=("/a.gguf:0.5",), adapters=("/b.gguf", "/c.gguf:-1"))
    assert server_settings.lora(options) == "/a.gguf:0.5,/b.gguf:1,/c.gguf:-1"
