# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import effect
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.client import Reply
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.errors import GateError


@pytest.mark.parametrize(
    ("command", "variables", "speculates"),
    [
        ([], {}, False),
        (["--spec-type", "ngram-mod"], {}, True),
        (["--spec-type", "none"], {}, False),
        (["--spec-type"], {}, False),
        ([], {"LLAMA_ARG_SPEC_TYPE": "draft-simple"}, True),
        (["--spec-type", "none"], {"LLAMA_ARG_SPEC_TYPE": "draft-simple"}, False),
        (["--model-draft", "/d"], {}, True),
        ([], {"LLAMA_ARG_MODEL_DRAFT": "/d"}, True),
        (["--spec-default"], {}, True),
    ],
)
def test_speculative_decoding_is_read_from_the_command(
    command: list[str], variables: dict[str, str], speculates: bool
) -> None:
    assert effect.speculates(command, variables) is speculates


@pytest.mark.parametrize(
    ("status", "slots", "proved"),
    [
        (200, [{"speculative": True, "id": 0}, {"speculative": True}], True),
        (200, [{"id": 0}], False),
        (200, {"error": "?"}, False),
        (501, [{"speculative": True}], False),
        (0, None, False),
    ],
)
def test_slots_prove_speculative_decoding(status: int, slots: typing.Any, proved: bool) -> None:
    assert (effect.prove_speculation(Reply(status, {"items": slots})) == "") is proved


def test_a_slot_without_it_fails_the_gate() -> None:
    with pytest.raises(GateError, match="does not decode speculatively, though it was told to"):
        effect.prove_speculation(Reply(200, {"items": [{"speculative": True}, {"speculative": False}]}))


SWA = "0.0 W srv load_model: swa_full is not supported by this model, it will be disabled"
SHIFT = "0.0 W srv load_model: ctx_shift is not supported by this context, it will be disabled"
IDLE = "0.0 W srv init: --cache-idle-slots requires --cache-ram, disabling"
REASONING = "0.0 W srv init: chat template does NOT support preserving reasoning, --reasoning-preserve has no effect"
GROK = "llama_init_from_model: flash_attn is not compatible with Grok - forcing off"


EOT = "load: default special token 'EOT' = 99 out of vocab range, disabling"


@pytest.mark.parametrize(
    ("lines", "options", "line"),
    [
        ([SWA], ["swa-full"], SWA),
        ([SWA], ["swa", "full", "cache-reuse"], ""),
        ([SWA], [], ""),
        ([SHIFT], ["context-shift"], SHIFT),
        ([IDLE], ["cache-idle-slots"], IDLE),
        ([REASONING], ["reasoning-preserve"], REASONING),
        ([GROK], ["flash-attn"], GROK),
        ([EOT], ["special"], ""),
        (["W srv init: --special has no effect"], ["special"], "W srv init: --special has no effect"),
        (["srv init: swa_full = true", "cache_reuse is 256"], ["swa-full", "cache-reuse"], ""),
        ([SWA, "Starting llama-fleet-a.service - llama-server instance a...", "I model loaded"], ["swa-full"], ""),
        (["Starting llama-fleet-a.service - llama-server instance a...", SWA], ["swa-full"], SWA),
        ([f"  {SWA} \x1b[0m{'x' * 900}"], ["swa-full"], f"{SWA} \\x1b[0m"),
    ],
)
def test_the_log_tells_which_options_are_ignored(lines: list[str], options: list[str], line: str) -> None:
    told = effect.ignored(lines, options)
    assert told.startswith(line)
    assert bool(told) == bool(line)
    assert len(told) < 310
