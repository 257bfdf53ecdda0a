# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Hand the results of earlier stages to a stage of the same instance.

The plays do the same with the templates in ``playbooks/vars/wired.yml``; a contract test holds the two equal."""

from __future__ import annotations

import typing

Values = typing.Mapping[str, typing.Any]
# The arguments of each stage, or its result, by role.
ByRole = typing.Mapping[str, Values]


def wired(role: str, given: ByRole, results: ByRole) -> dict[str, typing.Any]:
    """Return the arguments of ``role`` that come from the arguments and results of other stages."""
    driver, server = results.get("nvidia_driver") or {}, given["llama_server"]
    version = (driver.get("driver") or {}).get("version", "")
    architectures = driver.get("cuda_architectures") or []
    toolkit = (results.get("cuda_toolkit") or {}) if driver.get("backend") == "cuda" else {}
    release, model = results.get("llama_cpp") or {}, results.get("gguf_model") or {}
    arguments: dict[str, dict[str, typing.Any]] = {
        "nvidia_driver": {"runtime": server["runtime"]},
        "cuda_toolkit": {"state": "present", "architectures": architectures, "driver_version": version},
        "llama_cpp": {
            "state": "present",
            "backend": driver.get("backend", "cpu"),
            "cuda_architectures": architectures,
            "cuda_toolkit": toolkit.get("path", ""),
            "cuda_toolkit_version": toolkit.get("version", ""),
            "driver_version": version,
            "instances": server["root"],
        },
        "gguf_model": {
            "state": "present",
            "release": release.get("path", ""),
            "ctx_size": server["ctx_size"],
            "parallel": server["parallel"],
            "instances": server["root"],
        },
        "llama_server": {
            "backend": driver.get("backend", "cpu"),
            "release": release.get("path", ""),
            "model": model.get("path", ""),
            "mmproj": model.get("mmproj", ""),
            "adapters": model.get("lora", []),
            "draft": model.get("draft", ""),
            "draft_type": model.get("draft_type", ""),
        },
    }
    return arguments[role]
