"""The order of the test suite's steps."""

import threading

from tests.harness import steps
from tests.harness.turns import Turns


def step(name: str, *, needs: tuple[str, ...] = (), after: tuple[str, ...] = ()) -> steps.Step:
    return steps.Step(name, name, lambda _: None, needs=needs, after=after)


def test_in_their_order_each_once() -> None:
    turns = Turns([step("a"), step("b")])
    assert [taken.name if (taken := turns.take()) else None for _ in range(3)] == ["a", "b", None]


def test_one_that_cannot_begin_yet_is_passed_over() -> None:
    first, second, third = step("a"), step("b", after=("a",)), step("c")
    turns = Turns([first, second, third])
    assert turns.take() is first
    assert turns.take() is third
    turns.ended(third, "passed")
    turns.ended(first, "failed")
    assert turns.take() is second
    assert not turns.not_passed(second)


def test_who_has_nothing_to_do_waits_for_the_other() -> None:
    first, second = step("a"), step("b", needs=("a",))
    turns = Turns([first, second])
    assert turns.take() is first
    taken: list[steps.Step | None] = []
    waiting = threading.Thread(target=lambda: taken.append(turns.take()))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    turns.ended(first, "passed")
    waiting.join(10)
    assert taken == [second]


def test_what_did_not_pass_is_told() -> None:
    first, second = step("a"), step("b", needs=("a", "of another run"))
    turns = Turns([first, second])
    turns.take()
    turns.ended(first, "skipped")
    assert turns.take() is second
    assert turns.not_passed(second) == ["a"]


def test_after_a_stop_nothing_is_handed_out() -> None:
    turns = Turns([step("a"), step("b", after=("a",))])
    turns.take()
    waiting = threading.Thread(target=turns.take)
    waiting.start()
    turns.stop()
    waiting.join(10)
    assert not waiting.is_alive()
    assert turns.take() is None


def test_all_steps_can_be_taken() -> None:
    turns = Turns(steps.ALL)
    taken = []
    while one := turns.take():
        taken.append(one)
        turns.ended(one, "passed")
    assert sorted(one.name for one in taken) == sorted(one.name for one in steps.ALL)
    assert taken[0].name == "packages"
