# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Map role variables to llama-server's options: environment names, flags, values, and when each is set.

The table is the same for every release; ``render`` writes it for one release.
"""

from __future__ import annotations

import dataclasses
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import declared, noted
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import workers

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

# Kinds of settings that releases spell differently by more than their names.
VALUE, SWITCH, CHOICE, LIMIT, FLASH = "value", "switch", "choice", "limit", "flash"
LAYERS, LOAD, LOG, REASONING, LORA, ORIGINS = "layers", "load", "log", "reasoning", "lora", "origins"
CUDA = "cuda"
# Keys of a field's metadata.
_ROWS, _OWNED = "rows", "owned"

T = typing.TypeVar("T")
Value = typing.Callable[["Options"], typing.Optional[str]]


@dataclasses.dataclass(frozen=True)
class Setting:
    """An option of the server: its role variable, its environment name, its flag, and the requested value."""

    variable: str
    environment: str
    flag: str
    value: str
    kind: str = VALUE
    # Other long names, old and new.
    names: tuple[str, ...] = ()
    # Whether the value is the default, so that a release without the option will do.
    default: bool = False
    # Whether no instance works without it.
    basic: bool = False


@dataclasses.dataclass(frozen=True)
class _Row:
    """A flag of llama-server that an option sets. ``value`` returns None if there is nothing to set."""

    environment: str
    names: tuple[str, ...]
    value: Value | None
    kind: str
    on_gpu: bool
    basic: bool


def flag(
    field: T,
    environment: str,
    *names: str,
    value: Value | None = None,
    kind: str = "",
    on_gpu: bool = False,
    basic: bool = False,
    beside: tuple[str, ...] = (),
    owns: bool = True,
) -> T:
    """Return an option's field that sets a flag of llama-server, found under the first of ``names`` a release has.

    ``beside`` are other flags that would override it. Unless the option ``owns`` it, ``extra_options`` may set it too.
    Without ``value`` the flag gets the option's value, and an empty text sets nothing. With ``on_gpu`` it is set only
    for a GPU, because a CPU release complains.
    """
    given = typing.cast("dataclasses.Field[typing.Any]", field)
    rows = (*given.metadata.get(_ROWS, ()), _Row(environment, names, value, kind, on_gpu, basic))
    return owned(noted(field, **{_ROWS: rows}), *(names if owns else ()), *beside)


def owned(field: T, *names: str) -> T:
    """Return an option's field that owns these long names of flags, which ``extra_options`` may then not name."""
    given = typing.cast("dataclasses.Field[typing.Any]", field)
    return noted(field, **{_OWNED: (*given.metadata.get(_OWNED, ()), *names)})


def _value(row: _Row, options: Options, name: str) -> str | None:
    if row.on_gpu and options.backend != CUDA and not workers.named(options):
        return None
    if row.value:
        return row.value(options)
    value = getattr(options, name)
    if isinstance(value, bool):
        return "1" if value else "0"
    return value or None if isinstance(value, str) else str(value)


def alias(options: Options) -> str | None:
    return options.alias or pathlib.Path(options.model).name or None


def total_context(options: Options) -> str:
    # The server divides its context among the slots, whereas the option is what one request gets.
    return str(options.ctx_size * options.parallel)


def shares(options: Options) -> str | None:
    return ",".join(f"{share:g}" for share in options.tensor_split) or None


def template_text(options: Options) -> str | None:
    return options.chat_template if not options.chat_template.startswith("/") and options.chat_template else None


def template_file(options: Options) -> str | None:
    return options.chat_template if options.chat_template.startswith("/") else None


def origins(options: Options) -> str:
    """Allow all origins if there is a key; without one any web page in a browser could use the server."""
    keyed = options.api_key or options.api_keys
    return ",".join(options.cors_origins) or ("*" if keyed and not options.allow else "localhost")


def adapters(options: Options) -> list[tuple[str, str]]:
    """Return the path and scale of each LoRA adapter; the scale is empty if nothing follows the colon."""
    return [
        (path, scale) if path else (scale, "1")
        for path, _colon, scale in (given.rpartition(":") for given in (*options.lora, *options.adapters))
    ]


def lora(options: Options) -> str | None:
    return ",".join(f"{path}:{scale}" for path, scale in adapters(options)) or None


def draft_type(options: Options) -> str | None:
    """Return the type of speculative decoding, which a draft model needs; ``extra_options`` may name another."""
    return options.draft_type if options.draft and "spec-type" not in flag_names(options) else None


def flag_names(options: Options) -> set[str]:
    """Return the names in ``extra_options`` as llama-server's help spells them: ``spec-type``."""
    names = (str(key).lstrip("-").lower().replace("_", "-") for key in options.extra_options)
    return {name.removeprefix("llama-arg-") for name in names}


def managed(options: type) -> dict[str, tuple[str, ...]]:
    """Return the long names of flags that each role variable owns."""
    owners = ((field.name, field.metadata.get(_OWNED)) for field in dataclasses.fields(options))
    return {f"llama_server_{name}": names for name, names in owners if names}


def is_uuid(device: str) -> bool:
    """Return whether a device is named by the driver's UUID of a GPU or MIG device instead of llama-server's name."""
    return device.startswith(("GPU-", "MIG-"))


def visible_gpus(options: Options) -> dict[str, str]:
    """Return the variable that makes CUDA show only the devices named by UUID, in their order."""
    named = [device for device in options.devices if is_uuid(device)]
    return {"CUDA_VISIBLE_DEVICES": ",".join(named)} if named else {}


def settings(options: Options, threads: int, devices: typing.Sequence[str]) -> list[Setting]:
    """Return every setting with a value, so that a release's defaults never decide where we have a value."""
    # CUDA numbers the visible devices from 0, so the first one is CUDA0.
    names = [f"CUDA{number}" if is_uuid(device) else device for number, device in enumerate(devices)]
    # A missing device that is named ends the server; unnamed, the server would silently compute on the CPU.
    resolved = {"threads": str(threads), "devices": ",".join(names) or "none"}
    made = []
    for field in sorted(dataclasses.fields(options), key=lambda field: field.name not in resolved):
        for row in field.metadata.get(_ROWS, ()):
            value = resolved.get(field.name) or _value(row, options, field.name)
            if value is not None:
                made.append(_setting(field, row, value, options))
    return made


def _setting(field: dataclasses.Field[typing.Any], row: _Row, value: str, options: Options) -> Setting:
    given = getattr(options, field.name)
    unasked = not row.basic and given == declared(options)[field.name].default
    kind = row.kind or (SWITCH if isinstance(given, bool) else VALUE)
    name, *others = row.names
    return Setting(f"llama_server_{field.name}", row.environment, name, value, kind, tuple(others), unasked, row.basic)
