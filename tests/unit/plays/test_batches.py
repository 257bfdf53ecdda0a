# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The real plays in batches: a canary, then the rest, with stand-ins for the modules."""

import json

from tests.unit.plays.fleet import Fleet

# A canary, then the rest; of these hosts one is as it should be, one misses its model.
GOOD = {"llama_cpp_source": "there", "gguf_model_source": "there", "nvidia_driver_gpu": "none"}
BAD = {**GOOD, "gguf_model_source": "missing"}


def test_after_a_canary_that_fails_no_other_host_is_touched(fleet: Fleet) -> None:
    outcome = fleet.run("site", {"canary": BAD, "second": GOOD, "third": GOOD}, {"llama_fleet_serial": ["1", "100%"]})
    assert list(fleet.failures()) == ["canary"]
    assert outcome.untouched == ["second", "third"]
    assert [fleet.calls(host) for host in ("second", "third")] == [[], []]


def test_batch_after_batch(fleet: Fleet) -> None:
    hosts = {"canary": GOOD, "bad": BAD, "second": GOOD, "third": GOOD, "last": GOOD}
    outcome = fleet.run("site", hosts, {"llama_fleet_serial": ["1", "50%"]})
    assert list(fleet.failures()) == ["bad"]
    assert outcome.untouched == []
    order = [call["of"] for call in map(json.loads, fleet.log.read_text(encoding="utf-8").splitlines()) if "of" in call]
    assert order[0] == "canary"
    assert order.index("last") > max(number for number, host in enumerate(order) if host in ("bad", "second"))

    outcome = fleet.run("site", hosts, {"llama_fleet_serial": ["1", "50%"], "llama_fleet_max_fail_percentage": 0})
    assert outcome.untouched == ["last", "third"]
