# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Judge whether the instances on a host are as wanted."""

from __future__ import annotations

import typing

# A stopped instance is as wanted, because only a user stops one. A sleeping one wakes at the next request.
_WANTED = ("running", "sleeping", "stopped")


def errors(instances: typing.Sequence[typing.Mapping[str, typing.Any]]) -> list[str]:
    """Return a sentence for each reason why the host is not as wanted; empty if it is.

    ``instances`` are the facts that ``info.Inspector`` collects.
    """
    if not instances:
        return ["no instance"]
    return [sentence for facts in instances for sentence in _of_instance(facts)]


def _of_instance(facts: typing.Mapping[str, typing.Any]) -> typing.Iterator[str]:
    if facts["state"] not in _WANTED:
        yield f"{facts['instance']}: {facts['state']}"
    for sentence in facts["drift"]:
        yield f"{facts['instance']}: {sentence}"
