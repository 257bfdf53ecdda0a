# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Any set of options that is accepted arrives at the server as it was meant, whatever characters are in it."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import typing

import hypothesis
import hypothesis.strategies as st
import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host import systemd_text
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import unit_file as server_unit
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import extra as server_flags
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import options as server_options
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import render as server_writing
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import table as server_settings
from ansible_collections.llama_fleet.core.tests.unit.fakes.server_options import WANTED, flags

TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Co", "Cf", "Zl", "Zp")), min_size=1, max_size=30
) | st.sampled_from(
    [
        "a b",
        '"',
        "'",
        "\\",
        "%",
        "%h",
        "$HOME",
        "$$",
        "`id`",
        "#",
        ";",
        "= =",
        "\\n",
        "é",
        "模型",
        "*",
        "~",
        "{{ x }}",
        "--list-devices",
    ]
)
PATH = TEXT.map(lambda text: f"/{text}")
TEXTS = {
    "alias": TEXT,
    "chat_template": TEXT,
    "model": PATH,
    "mmproj": PATH,
    "tls_certificate": PATH,
    "tls_key": PATH,
    "lora": st.lists(
        PATH | st.builds("{}:{}".format, PATH, st.floats(-9, 9).map(lambda scale: f"{scale:.3f}")), max_size=3
    ).map(tuple),
}
OTHERS = {
    "backend": st.sampled_from(["cpu", "cuda"]),
    "devices": st.just(("CUDA0", "CUDA1")),
    "tensor_split": st.lists(st.floats(0, 100), max_size=3).map(tuple),
    "flash_attn": st.sampled_from(["auto", "on", "off"]),
    "cache_type_k": st.sampled_from(server_options.CACHE_TYPES),
    "cache_type_v": st.sampled_from(server_options.CACHE_TYPES),
    "load_mode": st.sampled_from(["auto", "mmap", "mlock", "mmap+mlock", "direct", "none"]),
    "log_level": st.sampled_from(["error", "warning", "info", "debug"]),
    "reasoning": st.sampled_from(["auto", "on", "off"]),
    "cors_origins": st.sampled_from([(), ("*",), ("localhost",), ("https://a.example:1",)]),
    **{name: st.booleans() for name in ("kv_unified", "jinja", "embeddings", "rerank", "metrics", "slots")},
    "cache_ram": st.integers(-1, 2**31 - 1),
    "timeout": st.integers(1, 604800),
}
EXTRA = st.dictionaries(st.sampled_from(["top-k", "grammar", "override-tensor", "chat-template-kwargs"]), TEXT)


def options_of(values: dict[str, typing.Any]) -> server_options.Options:
    return dataclasses.replace(WANTED, **values)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(st.fixed_dictionaries({**TEXTS, **OTHERS}), EXTRA)
def test_what_is_accepted_arrives(values: dict[str, typing.Any], extra: dict[str, str]) -> None:
    options = options_of({**values, "extra_options": extra})
    hypothesis.assume(not server_options.option_problems(options) and not server_flags.extra_problems(extra, flags()))
    variables, words = server_writing.split(server_settings.settings(options, 4, options.devices), flags())
    command = [str(options.server), *words, *server_flags.written(extra, flags())[1]]

    assert systemd_text.parse_environment_file(systemd_text.environment_file(variables)) == variables
    assert systemd_text.parse_command_line(systemd_text.command_line(command)) == command
    unit = server_unit.render(options, command, variables)
    (start,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    assert systemd_text.parse_command_line(start)[: len(command)] == command, (
        "and where the unit keeps its own copies of secrets"
    )
    assert meant(variables, words, options) == []


def meant(variables: dict[str, str], words: list[str], options: server_options.Options) -> list[str]:
    """Return the text options that did not arrive unchanged."""
    template = "LLAMA_ARG_CHAT_TEMPLATE_FILE" if options.chat_template.startswith("/") else "LLAMA_ARG_CHAT_TEMPLATE"
    wanted = {
        "LLAMA_ARG_ALIAS": options.alias,
        template: options.chat_template,
        "LLAMA_ARG_MODEL": options.model,
        "LLAMA_ARG_MMPROJ": options.mmproj,
        "LLAMA_ARG_SSL_CERT_FILE": options.tls_certificate,
        "LLAMA_ARG_SSL_KEY_FILE": options.tls_key,
    }
    lost = [name for name, value in wanted.items() if variables[name] != value]
    adapters = [given if re.search(r":[^:]*$", given) else f"{given}:1" for given in options.lora]
    return lost if words == (["--lora-scaled", ",".join(adapters)] if adapters else []) else [*lost, "lora"]


@pytest.mark.parametrize(
    "name", [*TEXTS, "api_key", "api_keys", "release", "host", "instance", "cors_origins", "devices", "n_gpu_layers"]
)
@pytest.mark.parametrize("bad", ["\n", "\r", "\0", "\x1b", "\u2028", "\x85"])
def test_no_value_holds_a_line_break_or_a_control_character(name: str, bad: str) -> None:
    text = f"/a{bad}b"
    many = isinstance(getattr(WANTED, name), tuple)
    values: dict[str, typing.Any] = {"tls_certificate": "/c", "tls_key": "/k"} if name.startswith("tls_") else {}
    found = server_options.option_problems(options_of({**values, name: (text,) if many else text}))
    assert {problem.subject for problem in found} == {f"llama_server_{name}"}
    assert bad not in str(found[0])


def test_paths_of_ours_are_plain() -> None:
    for name in ("release", "root"):
        value = "/srv/100%"
        assert server_options.option_problems(options_of({name: pathlib.Path(value) if name == "root" else value}))
