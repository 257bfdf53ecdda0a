# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that a real llama-server accepts and ignores: the module refuses them or makes them take effect."""

from __future__ import annotations

import json
import typing
import urllib.request

import pytest

from ansible_collections.llama_fleet.core.tests.unit.fakes.real_release import MODEL, real, with_real_release

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.tests.unit.module_runs import Instance


@pytest.fixture
def instance(instance: Instance) -> Instance:
    return with_real_release(instance)


def properties(instance: Instance, model: str) -> dict[str, typing.Any]:
    """Load a model of a router, and return its context in tokens and its default temperature."""
    body = json.dumps({"model": model, "prompt": "Hi", "n_predict": 1}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{instance.port}/completion", body, {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=120).close()
    with urllib.request.urlopen(f"http://127.0.0.1:{instance.port}/props?model={model}", timeout=60) as reply:
        settings = json.load(reply)["default_generation_settings"]
    return {"n_ctx": settings["n_ctx"], "temperature": round(settings["params"]["temperature"], 2)}


@real
def test_a_routers_options_are_defaults_that_each_model_overrides(instance: Instance, tmp_path: pathlib.Path) -> None:
    preset = tmp_path / "models.ini"
    preset.write_text(f"[one]\nmodel = {MODEL}\ntemp = 0.25\nctx-size = 512\n[two]\nmodel = {MODEL}\n")
    tmp_path.chmod(0o755)
    extra = {"models-preset": str(preset), "models-max": 1, "temp": 0.75, "warmup": False}
    instance.good(model="", allow=["router"], extra_options=extra, memory_check=False)
    assert properties(instance, "one") == {"n_ctx": 512, "temperature": 0.25}
    assert properties(instance, "two") == {"n_ctx": 256, "temperature": 0.75}
    preset.write_text(preset.read_text().replace("temp = 0.25", "logit-bias = 15043-1"))
    message = instance.bad(model="", allow=["router"], extra_options={**extra, "logit-bias": "15043+1"})
    assert f"found logit-bias, which would override that of one in {preset}" in message
