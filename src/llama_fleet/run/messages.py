# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Build the message of a failed task from its result."""

import typing
from collections.abc import Iterator, Mapping

from llama_fleet.run import remedies

Result = Mapping[str, typing.Any]
_NONE = "the task failed without a message"


def of_failure(result: Result) -> str:
    """Return what failed, what the failed program or module printed, and the fix if it is known."""
    text = _text(result)
    # Without a Python on the host, for example, no module runs at all.
    said = str(result.get("module_stderr") or "").strip().splitlines()
    text += f" ({said[-1] if 'Traceback' in said[0] else said[0]})" if said else ""
    if result.get("problems"):  # our modules name the fix themselves
        return text
    return remedies.told(text, "\n".join([*said, str(result.get("module_stdout") or "")]))


def _text(result: Result) -> str:
    failed = [item for item in result.get("results") or () if isinstance(item, Mapping) and item.get("failed")]
    if failed:
        return "\n".join(f"{item.get('item', '')}: {_text(item)}".removeprefix(": ") for item in failed)
    message = str(result.get("msg") or result.get("censored") or _NONE).strip()
    return "\n".join([message, *_details(result)])


def _details(result: Result) -> Iterator[str]:
    if result.get("assertion"):
        yield str(result["assertion"])
    for name in ("stdout", "stderr"):  # of a command
        if text := str(result.get(name) or "").strip():
            yield text
