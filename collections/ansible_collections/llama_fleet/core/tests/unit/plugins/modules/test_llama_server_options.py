# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that a real llama-server accepts and ignores: the module refuses them or makes them take effect."""

from __future__ import annotations

import json
import typing
import urllib.request

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf import tiny_model
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


@real
def test_a_draft_model_decodes_or_is_refused(instance: Instance, tmp_path: pathlib.Path) -> None:
    draft = {"warmup": False, "model-draft": MODEL}
    assert "found model-draft, which has no effect without a spec-type" in instance.bad(extra_options=draft)
    assert "has no effect without a draft model" in instance.bad(extra_options={"spec-type": "draft-simple"})
    good = instance.good(extra_options={**draft, "spec-type": "draft-simple"})
    assert not [warning for warning in good["warnings"] if "speculative" in str(warning)]
    hidden = instance.good(extra_options={**draft, "spec-type": "draft-simple"}, slots=False)
    assert [warning for warning in hidden["warnings"] if "speculative decoding was not proved" in str(warning)]

    other = tmp_path / "other.gguf"
    tiny_model.write_tiny_model(other, 1)
    message = instance.bad(draft=str(other), draft_type="draft-simple")
    assert "generation 3 not good: it does not decode speculatively, though it was told to" in message
    assert "draft model" in message.partition("Fix: Read the last lines of its log")[2]
    assert "generation 2 is back in service" in message


@real
def test_an_option_that_the_model_ignores_is_not_good(instance: Instance) -> None:
    pid = instance.good()["pid"]
    message = instance.bad(extra_options={"warmup": False, "swa-full": True})
    assert "it ignores an option that is set, which its log says: " in message
    assert "swa_full is not supported by this model, it will be disabled. Leave that option out" in message
    message = instance.bad(extra_options={"warmup": False, "reasoning-preserve": True})
    assert "--reasoning-preserve has no effect" in message
    assert instance.answers() == 200
    assert instance.servers() != [pid], "it was switched back"


@real
def test_options_that_llama_server_takes_silently_are_refused_before_the_switch(instance: Instance) -> None:
    pid = instance.good()["pid"]
    for extra in (
        {"lookup-cache-static": MODEL},
        {"cache-idle-slots": True},
        {"image-max-tokens": 64},
        {"pooling": "mean"},
        {"spec-draft-n-max": 4},
    ):
        assert f"found {next(iter(extra))}, which has no effect without" in instance.bad(extra_options=extra)
    assert instance.servers() == [pid]
    warned = instance.good(extra_options={"warmup": False, "n-cpu-moe": 4}, n_gpu_layers="7")
    told = " ".join(map(str, warned["warnings"]))
    assert "n-cpu-moe in llama_server_extra_options has no effect, because llama_server_backend is cpu" in told
    assert "llama_server_n_gpu_layers has no effect" in told


def saved(instance: Instance, action: str) -> int:
    """Save slot 0 to a file, or restore it; return the number of its tokens."""
    body = json.dumps({"filename": "one.bin"}).encode()
    url = f"http://127.0.0.1:{instance.port}/slots/0?action={action}"
    with urllib.request.urlopen(
        urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=60
    ) as reply:
        answer = json.load(reply)
    return int(answer["n_saved"] if action == "save" else answer["n_restored"])


@real
def test_slots_are_saved_in_the_instances_folder_and_outlive_a_restart(
    instance: Instance, tmp_path: pathlib.Path
) -> None:
    wanted: dict[str, typing.Any] = {
        "state_root": str(tmp_path / "state"),
        "extra_options": {"warmup": False, "slot-save-path": "slots"},
    }
    assert "name slots in llama_server_allow" in instance.bad(**wanted)
    wanted["allow"] = ["slots"]
    outside = {**wanted, "extra_options": {"slot-save-path": str(tmp_path)}}
    assert "expected a plain name such as slots" in instance.bad(**outside)
    assert instance.good(**wanted, plan_only=True)["would_change"]
    assert not (tmp_path / "state").exists(), "a plan makes nothing"
    instance.good(**wanted)
    assert instance.answers() == 200
    count = saved(instance, "save")
    (file,) = (tmp_path / "state" / "default" / "slots").iterdir()
    assert (count > 0, file.name, (tmp_path / "state" / "default").stat().st_mode & 0o777) == (True, "one.bin", 0o700)
    assert instance.good(**wanted)["changed"] is False
    instance.good(**wanted, max_tokens=99)
    assert saved(instance, "restore") == count
    instance.good(**wanted, state="stopped")
    assert file.exists()
    instance.good(**wanted, state="absent")
    assert list((tmp_path / "state").iterdir()) == []
    assert instance.good(**wanted, state="absent")["changed"] is False
