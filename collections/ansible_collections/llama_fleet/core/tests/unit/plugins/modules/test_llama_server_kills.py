# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module killed at any moment of a start, a change, a rollback or a failure: nothing is half written, and the
next run ends right.
"""

from __future__ import annotations

import os
import random
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.store import Store

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.tests.unit.module_runs import Instance

# More than there are in any run, so that the loops below have an end.
MOST_CHANGES = 100
KILLS = int(os.environ.get("LLAMA_FLEET_TEST_KILLS", "30"))


def check_whole(instance: Instance, removing: bool = False) -> None:
    """Assert that the files are whole: once a generation was good there is a current one, until a removal takes all,
    and no generation is half written.
    """
    store = Store(instance.folder)
    for name in os.listdir(instance.folder / "generations") if store.all() else []:
        generation = store.get(int(name)) if name.isdigit() else None
        assert not name.isdigit() or (generation is not None and generation.damage() == []), (
            f"generation {name} is half written"
        )
    current = store.current()
    assert current is not None or not (instance.folder / "current").is_symlink(), (
        "the current generation is one that is not there"
    )
    assert current is not None or removing or not any(found.good for found in store.all()), (
        "there are good generations, and none is current"
    )


def leftovers(instance: Instance) -> list[str]:
    return [str(path) for path in instance.place.rglob(".*") if path.name.endswith((".new", ".old"))]


def check_service(instance: Instance, number: int, **arguments: typing.Any) -> None:
    """One server, of the current generation, that the next run leaves alone; and no litter."""
    (pid,) = instance.servers()
    assert (instance.answers(), instance.current()) == (200, str(number))
    again = instance.good(**arguments)
    assert (again["changed"], again["pid"], again["generation"]) == (False, pid, number)
    assert leftovers(instance) == []


def test_killed_before_any_change_to_a_file_a_switch_is_made_good_by_the_next_run(instance: Instance) -> None:
    instance.good(api_key="key")
    step, parallel = 0, 1
    while step < MOST_CHANGES:
        step, parallel = step + 1, parallel % 4 + 1
        was_killed = instance.killed_at(step, parallel=parallel, api_key="key", keep=2)
        check_whole(instance)
        after = instance.good(parallel=parallel, api_key="key", keep=2)
        assert (after["ready"], instance.answers("key"), instance.servers()) == (True, 200, [after["pid"]])
        assert leftovers(instance) == []
        if not was_killed:
            break
    assert 12 < step < MOST_CHANGES, "there are as many changes to files in a switch"
    assert not after["changed"]


def test_killed_before_any_change_to_a_file_a_rollback_goes_where_it_was_going(instance: Instance) -> None:
    for parallel in (1, 2, 3):
        instance.good(parallel=parallel)
    step, was_killed = 1, True
    while was_killed and step < MOST_CHANGES:
        step += 1
        was_killed = instance.killed_at(step, state="rolled_back")
        check_whole(instance)
        if was_killed:
            assert instance.good(state="rolled_back")["generation"] == 2
        assert (instance.current(), instance.answers(), leftovers(instance)) == ("2", 200, [])
        instance.good(state="rolled_back", to_generation=3)
    assert 7 < step < MOST_CHANGES, "there are as many changes to files in a rollback"


def test_killed_before_any_change_to_a_file_a_removal_is_ended_by_the_next_run(instance: Instance) -> None:
    for step in range(2, 60, 2):
        instance.good()
        was_killed = instance.killed_at(step, state="absent")
        check_whole(instance, removing=True)
        instance.good(state="absent")
        assert (instance.servers(), instance.folder.exists()) == ([], False)
        if not was_killed:
            return
    raise AssertionError("it has not come to its end")


class Killer:
    """Kills runs at moments that are spread over the time that a run takes, so that all parts of it are met."""

    def __init__(self, instance: Instance, longest: float) -> None:
        self.instance = instance
        self.longest = longest
        self.source = random.Random(5)
        self.kills = 0

    def run(self, **arguments: typing.Any) -> None:
        pid = self.instance.start(**arguments)
        # By a stride that has no common divisor with their number, for the kinds of runs take turns.
        moment = self.kills * 7 % KILLS
        time.sleep(self.longest * (moment + self.source.random()) / KILLS)
        self.instance.kill(pid)
        self.kills += 1
        check_whole(self.instance)


def test_killed_at_any_moment_every_run_is_made_good_by_the_next_one(instance: Instance) -> None:
    broken = instance.release("broken", crash="never")
    instance.good(parallel=3)
    instance.good(parallel=4)
    begin = time.monotonic()
    instance.good(parallel=2)
    killer = Killer(instance, time.monotonic() - begin)
    parallel = 2
    while killer.kills < KILLS:
        what = ("change", "roll back", "fail", "change", "stop")[killer.kills % 5]
        if what == "change":
            parallel = parallel % 4 + 1
            killer.run(parallel=parallel)
            check_service(instance, instance.good(parallel=parallel)["generation"], parallel=parallel)
        elif what == "roll back":
            store = Store(instance.folder)
            current = store.current()
            assert current is not None
            older = max(found.number for found in store.all() if found.good and found.number < current.number)
            killer.run(state="rolled_back")
            # Killed before it had noted anything, or after it was done, the same words begin anew: so the number is
            # named.
            assert instance.good(state="rolled_back", to_generation=older)["generation"] == older
            check_service(instance, older, state="rolled_back", to_generation=older)
            parallel = instance.manifest(older)["options"]["parallel"]
        elif what == "fail":
            good = instance.current()
            killer.run(release=broken, parallel=parallel)
            assert f"generation {good} is back in service" in instance.bad(release=broken, parallel=parallel)
            check_service(instance, int(good), parallel=parallel)
        else:
            killer.run(state="stopped")
            instance.good(state="stopped")
            assert instance.servers() == []
            check_service(instance, instance.good(parallel=parallel)["generation"], parallel=parallel)
