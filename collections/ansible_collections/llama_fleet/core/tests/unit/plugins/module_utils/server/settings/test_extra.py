# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import pathlib
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import extra as server_flags
from ansible_collections.llama_fleet.core.tests.unit.fakes.server_options import flags

FLAGS = flags()
HELP = pathlib.Path(__file__).parents[2] / "fixtures" / "llama_server"
# The whole output of a release's --help, not only the options under test.
WHOLE = server_flags.parse_help((HELP / "help_b11434.txt").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "names", "value", "environment"),
    [
        ("threads", ("-t", "--threads"), "N", "LLAMA_ARG_THREADS"),
        ("n-predict", ("-n", "--predict", "--n-predict"), "N", "LLAMA_ARG_N_PREDICT"),
        ("flash-attn", ("-fa", "--flash-attn"), "[on|off|auto]", "LLAMA_ARG_FLASH_ATTN"),
        ("list-devices", ("--list-devices",), "", ""),
        ("metrics", ("--metrics",), "", "LLAMA_ARG_ENDPOINT_METRICS"),
        ("control-vector-layer-range", ("--control-vector-layer-range",), "START END", ""),
        ("no-kv-unified", ("-kvu", "--kv-unified", "-no-kvu", "--no-kv-unified"), "", "LLAMA_ARG_KV_UNIFIED"),
    ],
)
def test_help_is_understood(name: str, names: tuple[str, ...], value: str, environment: str) -> None:
    flag = FLAGS.get(name)
    assert flag is not None
    assert (flag.names, flag.value, flag.environment, flag.removed) == (names, value, environment, False)


def test_removed_flags_are_known_with_what_to_use_instead() -> None:
    flag = FLAGS.get("draft-max")
    assert flag is not None
    assert flag.removed
    assert "--spec-draft-n-max" in flag.advice


@pytest.mark.parametrize(
    ("name", "choices", "meaning"),
    [
        ("split-mode", ("none", "layer", "row", "tensor"), None),
        ("flash-attn", ("on", "off", "auto"), None),
        ("cache-type-k", ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"), None),
        ("n-gpu-layers", ("auto", "all"), None),
        ("verbosity", ("0", "1", "2", "3", "4", "5"), ("3", "info")),
        ("load-mode", ("auto", "none", "mmap", "mlock", "mmap+mlock", "dio"), ("mlock", "force")),
        ("metrics", (), None),
    ],
)
def test_the_values_that_a_flag_takes_are_understood(
    name: str, choices: tuple[str, ...], meaning: tuple[str, str] | None
) -> None:
    flag = FLAGS.get(name)
    assert flag is not None
    assert flag.choices == choices
    assert meaning is None or meaning in zip(flag.choices, flag.meanings)


def test_a_manifest_tells_what_the_help_does() -> None:
    kept = json.loads(
        json.dumps({"build": "b11434", "options": {"flags": [], "environments": [], "details": FLAGS.details}})
    )
    told = server_flags.from_manifest(kept)
    assert told is not None
    assert (told.by_name, told.build) == (FLAGS.by_name, "b11434")


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"options": {"flags": ["--port"], "environments": []}},
        {"options": {"details": []}},
        {"options": {"details": [{"names": ["--ctx-size"]}]}},
        {"options": {"details": [{"names": ["--port"], "of-the-future": 1}]}},
        {"options": {"details": ["--port"]}},
        {"options": None},
    ],
)
def test_a_manifest_that_does_not_tell_is_none(manifest: dict[str, typing.Any]) -> None:
    assert server_flags.from_manifest(manifest) is None


@pytest.mark.parametrize(
    ("options", "mode", "rest"),
    [
        ({}, "", {}),
        ({"mlock": True, "top-k": 1}, "mmap+mlock", {"top-k": 1}),
        ({"--mlock": True, "no_mmap": True}, "mlock", {}),
        ({"mlock": True, "mmap": False}, "mlock", {}),
        ({"no-mmap": True}, "none", {}),
        ({"mmap": True}, "mmap", {}),
        ({"direct-io": True, "mmap": False}, "direct", {}),
        ({"mlock": False, "direct-io": False}, "", {}),
        ({"direct-io": True, "mlock": True}, "", {"direct-io": True, "mlock": True}),
        ({"mlock": "yes"}, "", {"mlock": "yes"}),
    ],
)
def test_flags_of_old_releases_become_a_load_mode(
    options: dict[str, typing.Any], mode: str, rest: dict[str, typing.Any]
) -> None:
    assert server_flags.translated(options) == (mode, rest)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, []),
        ({"props": True}, ["--props"]),
        ({"warmup": False}, ["--no-warmup"]),
        ({"swa-full": True, "fit": False}, ["--fit", "off", "--swa-full"]),
        ({"fit": True}, ["--fit", "on"]),
        ({"cache_reuse": 256}, ["--cache-reuse", "256"]),
        ({"temp": 0.5}, ["--temp", "0.5"]),
        ({"control-vector-layer-range": [1, 20]}, ["--control-vector-layer-range", "1", "20"]),
        ({"grammar": 'a "b" $c'}, ["--grammar", 'a "b" $c']),
    ],
)
def test_options_become_a_command_line(options: dict[str, typing.Any], words: list[str]) -> None:
    assert server_flags.extra_problems(options, FLAGS) == []
    assert server_flags.written(options, FLAGS)[1] == words


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"port": 80},
            (
                "llama_server_extra_options: expected no port here, because llama_server_port sets it, found port. "
                "Fix: Set llama_server_port instead."
            ),
        ),
        ({"api-key": "x"}, "llama_server_api_key"),
        ({"metrics": True}, "Set llama_server_metrics instead"),
        ({"flash_attn": "on"}, "Set llama_server_flash_attn instead"),
        ({"no-slots": True}, "Set llama_server_slots instead"),
        ({"chat-template-file": "/a"}, "Set llama_server_chat_template instead"),
        ({"ssl-key-file": "/a"}, "Set llama_server_tls_key instead"),
        ({"mlock": "yes"}, "Set llama_server_load_mode instead"),
        ({"verbose": True}, "Set llama_server_log_level instead"),
        ({"log-prompts-dir": "/a"}, "Set llama_server_log_level instead"),
        ({"reranking": True}, "Set llama_server_rerank instead"),
        ({"tools": "all"}, "name tools in llama_server_allow"),
        ({"no-agent": True}, "no option that opens the host"),
        ({"mcp-servers-json": "{}"}, "no option that opens the host"),
        ({"ui-mcp-proxy": True}, "no option that opens the host"),
        ({"rpc": "10.0.0.1:50052"}, "no option that opens the host"),
        ({"media-path": "/"}, "no option that opens the host"),
        (
            {"path": "/"},
            (
                "expected no option that opens the host, serves another model or ends the server, found path, "
                "which gives files of the host to any client."
            ),
        ),
        ({"--path": "/"}, "gives files of the host"),
        ({"slot_save_path": "/"}, "name slots in llama_server_allow"),
        ({"log-file": "/a"}, "writes files of its own"),
        ({"video-ffmpeg-dir": "/a"}, "runs other programs"),
        ({"models-dir": "/m"}, "no option that opens the host"),
        ({"fim-qwen-3b-default": True}, "serves another model"),
        ({"list-devices": True}, "ends the server"),
        ({"cache-reuze": 1}, "the nearest are cache-reuse"),
        ({"zzzzqqqq": "on"}, "expected an option of this release, found zzzzqqqq."),
        (
            {"draft-max": 4},
            "expected an option that this release still has, found draft-max. Fix: Use --spec-draft-n-max",
        ),
        ({"props": "yes"}, "props: true"),
        ({"temp": True}, "expected a value (N), found temp: true."),
        ({"props": False}, "cannot be turned off"),
        ({"grammar": "a\nb"}, "a newline"),
        ({"grammar": {"a": 1}}, "a value of type dict"),
        ({"grammar": None}, "a value of type NoneType"),
        ({"a b": 1}, "the long name of an option"),
        ({"t": 1}, "the long name of an option"),
    ],
)
def test_a_bad_option_is_one_sentence(options: dict[str, typing.Any], sentence: str) -> None:
    found = server_flags.extra_problems(options, FLAGS)
    assert len(found) == 1
    assert sentence in str(found[0])
    assert found[0].subject == "llama_server_extra_options"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"LLAMA_ARG_STATIC_PATH": "/"}, "gives files of the host"),
        ({"LLAMA_ARG_TOOLS": "all"}, "name tools in llama_server_allow"),
        ({"LLAMA_ARG_AGENT": "1"}, "name agent in llama_server_allow"),
        ({"LLAMA_ARG_MODEL": "other.gguf"}, "Set llama_server_model instead"),
        ({"--model": "other.gguf"}, "Set llama_server_model instead"),
        ({"-m": "other.gguf"}, "Set llama_server_model instead"),
        ({"-hf": "a/b"}, "Set llama_server_model instead"),
        ({"-c": "1"}, "Set llama_server_ctx_size instead"),
        ({"-a": "x"}, "Set llama_server_alias instead"),
        ({"-np": "1"}, "Set llama_server_parallel instead"),
        ({"-v": True}, "Set llama_server_log_level instead"),
        ({"LLAMA_API_KEY": "k"}, "Set llama_server_api_key instead"),
        ({"-zz": True}, "expected a name that this release knows, found -zz."),
        (
            {"LLAMA_ARG_TOP_KK": "1"},
            (
                "expected a name that this release knows; the nearest are LLAMA_ARG_TOP_K, LLAMA_ARG_TOP_P or "
                "LLAMA_ARG_TOOLS, found LLAMA_ARG_TOP_KK."
            ),
        ),
        (
            {"LLAMA_ARG_TOP_K": "1", "top-k": 1},
            "expected each option once, found top-k twice, the second time as top-k.",
        ),
        ({"LLAMA_ARG_METRICS\n--tools": "all"}, "the long name of an option"),
    ],
)
def test_no_other_name_gets_past_the_door(options: dict[str, typing.Any], sentence: str) -> None:
    (problem,) = server_flags.extra_problems(options, WHOLE)
    assert sentence in str(problem)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("router", {"models-dir": "/m"}),
        ("tools", {"tools": "all"}),
        ("agent", {"agent": True}),
        ("mcp", {"ui-mcp-proxy": True}),
        ("rpc", {"rpc": "10.0.0.1:50052"}),
    ],
)
def test_what_opens_the_host_is_for_those_who_name_it(name: str, options: dict[str, typing.Any]) -> None:
    others = {*server_flags.ALLOWED} - {name}
    assert f"name {name} in llama_server_allow" in str(server_flags.extra_problems(options, FLAGS, others)[0])
    assert server_flags.extra_problems(options, FLAGS, [name]) == []


def test_saving_slots_is_for_those_who_name_it() -> None:
    options = {"slot-save-path": "/s"}
    assert "name slots in llama_server_allow" in str(server_flags.extra_problems(options, WHOLE)[0])
    assert server_flags.extra_problems(options, WHOLE, ["slots"]) == []


def test_what_reads_files_for_anybody_is_never_allowed() -> None:
    options = {"media-path": "/", "fim-qwen-3b-default": True}
    assert len(server_flags.extra_problems(options, FLAGS, server_flags.ALLOWED)) == 2


def test_another_name_of_a_managed_flag_is_managed_too() -> None:
    renamed = server_flags.Flags(
        {**FLAGS.by_name, "--serve-metrics": server_flags.Flag(("--metrics", "--serve-metrics"))}
    )
    assert "llama_server_metrics" in str(server_flags.extra_problems({"serve-metrics": True}, renamed)[0])


def test_a_removed_flag_without_advice_has_neighbours() -> None:
    flags = server_flags.Flags(
        {**FLAGS.by_name, "--cache-reused": server_flags.Flag(("--cache-reused",), "N", removed=True)}
    )
    assert "Fix: Use cache-reuse" in str(server_flags.extra_problems({"cache-reused": 1}, flags)[0])


def test_all_problems_are_told_at_once_and_names_are_left_alone_without_a_release() -> None:
    assert len(server_flags.extra_problems({"tools": 1, "cache-reuze": 1, "port": 1}, FLAGS)) == 3
    assert len(server_flags.extra_problems({"tools": 1, "cache-reuze": 1, "port": 1}, None)) == 2
    assert server_flags.written({"metrics": True, "warmup": False, "x": 1}, None)[1] == [
        "--metrics",
        "--no-warmup",
        "--x",
        "1",
    ]


def test_a_flag_of_a_later_release_that_names_a_place_is_refused() -> None:
    later = server_flags.parse_help("--port N  x\n--future-dir PATH  y\n--future-count N  z\n")
    (problem,) = server_flags.extra_problems({"future-dir": "/x", "future-count": 3}, later)
    assert "future-dir, which may open files or addresses, and is newer than this llama-fleet" in str(problem)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"LLAMA_ARG_TOP_K": "20"}, ["--top-k", "20"]),
        ({"LLAMA_ARG_SWA_FULL": "true"}, ["--swa-full"]),
        ({"LLAMA_ARG_CONT_BATCHING": "0"}, ["--no-cont-batching"]),
        ({"-ctxcp": "4", "--temp": "0.5"}, ["--ctx-checkpoints", "4", "--temp", "0.5"]),
        ({"--no-warmup": True}, ["--no-warmup"]),
        ({"--fit": "off"}, ["--fit", "off"]),
    ],
)
def test_other_names_of_an_option_mean_the_same(options: dict[str, typing.Any], words: list[str]) -> None:
    assert server_flags.extra_problems(options, WHOLE) == []
    assert server_flags.written(options, WHOLE)[1] == words
