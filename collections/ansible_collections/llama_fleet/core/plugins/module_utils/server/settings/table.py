# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The one table of what role variables mean to llama-server: names in its environment, flags, values, and when each is
set.

What is wanted is the same for every release; ``server_writing`` writes it as one release wants to read it.
"""

from __future__ import annotations

import dataclasses
import pathlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.arguments import declared, noted

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

# How a value is written where releases differ by more than names.
VALUE, SWITCH, CHOICE, LIMIT, FLASH = "value", "switch", "choice", "limit", "flash"
LAYERS, LOAD, LOG, REASONING, LORA, ORIGINS = "layers", "load", "log", "reasoning", "lora", "origins"
CUDA = "cuda"
# Keys of a field's metadata.
_ROWS, _OWNED = "rows", "owned"

T = typing.TypeVar("T")
Value = typing.Callable[["Options"], typing.Optional[str]]


@dataclasses.dataclass(frozen=True)
class Setting:
    """One option of the server: the role variable it comes from, its name in the environment and as a flag, what is
    wanted.
    """

    variable: str
    environment: str
    flag: str
    value: str
    kind: str = VALUE
    # Other long names, old and new.
    names: tuple[str, ...] = ()
    # Whether nobody has asked for anything special, so that a release that knows nothing of it will do.
    default: bool = False
    # Whether an instance is nothing without it.
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
) -> T:
    """Return an option's field that sets a flag of llama-server, found under the first of ``names`` a release has.

    ``beside`` are flags that would set the same behind its back. Without ``value`` the flag gets the option's value; an
    empty text sets nothing. With ``on_gpu`` it is set only if a GPU computes, because a release for CPUs complains.
    """
    given = typing.cast("dataclasses.Field[typing.Any]", field)
    rows = (*given.metadata.get(_ROWS, ()), _Row(environment, names, value, kind, on_gpu, basic))
    return owned(noted(field, **{_ROWS: rows}), *names, *beside)


def owned(field: T, *names: str) -> T:
    """Return an option's field that owns these long names of flags, which ``extra_options`` may then not name."""
    given = typing.cast("dataclasses.Field[typing.Any]", field)
    return noted(field, **{_OWNED: (*given.metadata.get(_OWNED, ()), *names)})


def _value(row: _Row, options: Options, name: str) -> str | None:
    if row.on_gpu and options.backend != CUDA:
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
    # The server divides its context among the slots; people mean what one request gets.
    return str(options.ctx_size * options.parallel)


def shares(options: Options) -> str | None:
    return ",".join(f"{share:g}" for share in options.tensor_split) or None


def template_text(options: Options) -> str | None:
    return options.chat_template if not options.chat_template.startswith("/") and options.chat_template else None


def template_file(options: Options) -> str | None:
    return options.chat_template if options.chat_template.startswith("/") else None


def origins(options: Options) -> str:
    """Without a key any page that a browser shows could use the server; with one it has to have the key."""
    keyed = options.api_key or options.api_keys
    return ",".join(options.cors_origins) or ("*" if keyed and not options.allow else "localhost")


def adapters(options: Options) -> list[tuple[str, str]]:
    """Each LoRA adapter's path and scale, which is empty where a colon has nothing behind it."""
    return [
        (path, scale) if path else (scale, "1")
        for path, _colon, scale in (given.rpartition(":") for given in options.lora)
    ]


def lora(options: Options) -> str | None:
    return ",".join(f"{path}:{scale}" for path, scale in adapters(options)) or None


def managed(options: type) -> dict[str, tuple[str, ...]]:
    """Return the long names of flags that each role variable owns."""
    owners = ((field.name, field.metadata.get(_OWNED)) for field in dataclasses.fields(options))
    return {f"llama_server_{name}": names for name, names in owners if names}


def is_uuid(device: str) -> bool:
    """Whether a device is named as the driver names a whole GPU or a slice of one, and not as llama-server does."""
    return device.startswith(("GPU-", "MIG-"))


def visible_gpus(options: Options) -> dict[str, str]:
    """The variable by which CUDA shows the server no GPUs and slices but those named by their UUIDs, in their order."""
    named = [device for device in options.devices if is_uuid(device)]
    return {"CUDA_VISIBLE_DEVICES": ",".join(named)} if named else {}


def settings(options: Options, threads: int, devices: typing.Sequence[str]) -> list[Setting]:
    """Every setting that is made, so that no default of a release ever decides where we have a value."""
    # Of those that CUDA shows, the server sees the first as CUDA0.
    names = [f"CUDA{number}" if is_uuid(device) else device for number, device in enumerate(devices)]
    # A device that is named and missing ends the server; left out, it would silently compute on the CPU.
    resolved = {"threads": str(threads), "devices": ",".join(names) or "none"}
    found = []
    for field in sorted(dataclasses.fields(options), key=lambda field: field.name not in resolved):
        for row in field.metadata.get(_ROWS, ()):
            value = resolved.get(field.name) or _value(row, options, field.name)
            if value is not None:
                found.append(_setting(field, row, value, options))
    return found


def _setting(field: dataclasses.Field[typing.Any], row: _Row, value: str, options: Options) -> Setting:
    given = getattr(options, field.name)
    unasked = not row.basic and given == declared(options)[field.name].default
    kind = row.kind or (SWITCH if isinstance(given, bool) else VALUE)
    name, *others = row.names
    return Setting(f"llama_server_{field.name}", row.environment, name, value, kind, tuple(others), unasked, row.basic)
