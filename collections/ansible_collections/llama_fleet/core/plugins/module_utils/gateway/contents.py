# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Make the files beside HAProxy's configuration: maps, the list of models, and the script that holds requests."""

from __future__ import annotations

import hashlib
import json
import typing

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.options import Options
    from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.servers import Model

KEYS, NAMES, HOLDS = "keys.map", "models.map", "holds.map"
CONCURRENT, PER_MINUTE = "concurrent.map", "per-minute.map"
LISTING, SCRIPT = "listing.map", "hold.lua"
# The only key of the listing: the answer to GET /v1/models.
ALL = "all"
# Maps that HAProxy changes while it runs, without a reload.
MAPS = (KEYS, NAMES, CONCURRENT, PER_MINUTE, LISTING)
HELD = "held"

# Waits as long as a model's entry in the map of holds says so. The map is read through HAProxy's own lookup, so that a
# change over the runtime socket is seen at once.
_HOLD = """\
-- Written by llama-fleet: changes made here by hand are lost.
local holds = Map.new("@MAP@", Map._str)
local limit_ms, step_ms = @LIMIT@, 50

core.register_action("hold", { "http-req" }, function(txn)
  local backend = txn:get_var("txn.backend")
  local waited = 0
  while holds:lookup(backend) == "held" and waited < limit_ms do
    core.msleep(step_ms)
    waited = waited + step_ms
  end
  txn:set_var("txn.held_ms", waited)
end, 0)
"""


def contents(options: Options, models: typing.Sequence[Model]) -> dict[str, str]:
    """Return the text of each file by name. Keys appear as hashes only. Holds are not in it: they are a state."""
    return {
        KEYS: _map((digest(key), name) for name, key in options.api_keys.items()),
        NAMES: _map((name, model.backend) for model in models for name in model.names),
        CONCURRENT: _limits(options, "concurrent"),
        PER_MINUTE: _limits(options, "per_minute"),
        LISTING: _map([(ALL, model_list(models))]),
        SCRIPT: script(options),
    }


def script(options: Options) -> str:
    """Return the script that holds requests."""
    return _HOLD.replace("@MAP@", str(options.root / HOLDS)).replace("@LIMIT@", str(options.hold_timeout * 1000))


def digest(key: str) -> str:
    """Return the lower-case hex SHA-256 of a client's key, which may be given as its hash."""
    prefix = "sha256:"
    return key[len(prefix) :] if key.startswith(prefix) else hashlib.sha256(key.encode()).hexdigest()


def entries(text: str) -> dict[str, str]:
    """Return the entries of a map's text."""
    return dict(line.split(" ", 1) for line in text.splitlines())


def model_list(models: typing.Iterable[Model]) -> str:
    """Return the answer to ``GET /v1/models`` in OpenAI's form: every model and every alias."""
    data = [
        {"id": name, "object": "model", "created": 0, "owned_by": "llama-fleet"}
        for model in models
        for name in model.names
    ]
    return json.dumps({"object": "list", "data": data})


def as_json(value: object) -> str:
    """Return ``value`` as readable JSON."""
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def _map(pairs: typing.Iterable[tuple[str, str]]) -> str:
    return "".join(f"{key} {value}\n" for key, value in sorted(pairs))


def _limits(options: Options, kind: str) -> str:
    """Return the limits of one kind by name of a key; a key without its own has the default's."""
    return _map((name, str(entry[kind])) for name, entry in options.limits.items() if kind in entry)
