# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Compute on other hosts: check the workers that ``rpc`` names, and leave them alone while a server is only tested."""

from __future__ import annotations

import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import router as server_router

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.options import Options

OPTION = "rpc"
_VARIABLE, _DEVICE = "LLAMA_ARG_RPC", "LLAMA_ARG_DEVICE"
_NAME = re.compile(r"RPC\d{1,4}")


def named(options: Options) -> bool:
    """Return whether the options name workers, by the flag or by its environment variable."""
    names = (str(key).lstrip("-").lower().replace("_", "-") for key in options.extra_options)
    return OPTION in {name.removeprefix("llama-arg-") for name in names}


def is_device(name: str) -> bool:
    """Return whether ``name`` is a device of a worker, such as RPC0."""
    return bool(_NAME.fullmatch(name))


def device_problems(options: Options) -> list[Problem]:
    """Return a problem if workers are named and none of their devices is, or the other way round.

    A worker serves one server at a time, so a plan cannot ask it for its devices. A device that is named and missing
    ends the server; without names the server computes on this host and says nothing.
    """
    variable = "llama_server_devices"
    own = [device for device in options.devices if is_device(device)]
    if named(options) and server_router.is_wanted(options):
        wanted = "no workers for a router, which would keep them from its models"
        fix = "set rpc for one model, in its section of the file that models-preset names"
        return [Problem("llama_server_extra_options", OPTION, wanted, fix)]
    if named(options) and not own and OPTION in options.allow:
        given = ", ".join(options.devices) or "no devices"
        wanted = "the workers' devices, RPC0 and so on, because rpc has no effect without them"
        fix = "'llama-server --rpc HOST:PORT --list-devices' lists them while no server uses the worker"
        return [Problem(variable, given, wanted, fix)]
    if own and not named(options):
        wanted, fix = "a device of this host", "name its worker as rpc in llama_server_extra_options"
        return [Problem(variable, own[0], wanted, fix)]
    return []


def without(variables: typing.Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a server without workers, for a test beside the server that may use them now."""
    if _VARIABLE not in variables:
        return dict(variables)
    own = [device for device in variables.get(_DEVICE, "").split(",") if not is_device(device)]
    rest = {name: value for name, value in variables.items() if name != _VARIABLE}
    return {**rest, _DEVICE: ",".join(own) or "none"}


def warning(variables: typing.Mapping[str, str]) -> str:
    """Return what cannot be proved of a server with this environment; empty without workers."""
    if _VARIABLE not in variables:
        return ""
    devices = ", ".join(device for device in variables.get(_DEVICE, "").split(",") if is_device(device))
    return (
        f"rpc: llama-server accepted the devices {devices} and would not run without them. How much of the model they "
        f"hold, and whether it fits, was not checked, because a worker serves one server at a time."
    )
