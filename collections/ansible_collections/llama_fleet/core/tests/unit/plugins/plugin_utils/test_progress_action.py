# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import signal
import typing

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.plugin_utils import progress_action
from ansible_collections.llama_fleet.core.plugins.plugin_utils import watch as watch_of_a_job
from ansible_collections.llama_fleet.core.plugins.plugin_utils.watch import ALIVE, RESULT, Job, Reporter, Watch


def output(pid: int, result: str = "") -> str:
    return f"{ALIVE}\n{json.dumps({'stage': 'building', 'pid': pid})}\n{RESULT}\n{result}"


class Polled(progress_action.ProgressAction):
    """An action whose host answers polls, each with the next of ``outputs``."""

    def __init__(self, outputs: list[str]) -> None:
        self.outputs = outputs

    def _low_level_execute_command(self, _command: str) -> dict[str, str]:
        return {"stdout": self.outputs.pop(0)}


def test_polls_pause_longer_and_longer_until_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(progress_action.time, "sleep", pauses.append)
    watch = Watch(Job("gguf_model", "/jobs/1/progress.json", "/jobs/results"), Reporter("host"))
    action = Polled([*[output(7)] * 6, output(7, result='{"changed": true}')])
    assert action._wait(watch) == {"changed": True}
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


JOB = Job("gguf_model", "/jobs/1/beside.json", "/jobs/results")
MADE = {"path": "/m", "mmproj": "", "lora": [], "draft": "", "draft_type": "", "files": [], "size": 1, "changed": True}
WRONG = {"failed": True, "msg": "no model", "problems": [{"subject": "gguf_model_source"}]}


class Two(progress_action.ProgressAction):
    """The release's action, beside a model whose host answers polls with ``outputs``. ``makes`` makes the release."""

    ROLE = "llama_cpp"

    def __init__(self, outputs: list[str], makes: typing.Callable[[Two], dict[str, typing.Any]]) -> None:
        self.outputs, self.makes = outputs, makes
        self.commands: list[str] = []

    @property
    def _templar(self) -> Two:
        return self

    def template(self, value: object) -> object:
        return value

    def _low_level_execute_command(self, command: str) -> dict[str, str]:
        self.commands.append(command)
        return {"stdout": self.outputs.pop(0) if RESULT in command else ""}

    def _run_in_background(
        self, _arguments: dict[str, typing.Any], _task_vars: dict[str, typing.Any]
    ) -> dict[str, typing.Any]:
        return self.makes(self)

    def go(self) -> dict[str, typing.Any]:
        return self._run_beside({}, {"inventory_hostname": "h", progress_action.BESIDE: JOB._asdict()})


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(watch_of_a_job.display, "display", lines.append)
    monkeypatch.setattr(watch_of_a_job.display, "warning", lambda text: lines.append(f"Warning: {text}"))
    return lines


def looks(count: int, result: dict[str, typing.Any]) -> typing.Callable[[Two], dict[str, typing.Any]]:
    def make(action: Two) -> dict[str, typing.Any]:
        for _look in range(count):
            typing.cast("watch_of_a_job.Beside", action._beside).look()
        return result

    return make


def test_a_release_that_is_made_leaves_the_model_to_its_own_task(shown: list[str]) -> None:
    action = Two([output(7), output(7, json.dumps(MADE))], looks(3, {"changed": True}))
    assert action.go() == {"changed": True}
    assert shown == ["[h] building", "[h] gguf_model has finished"]
    # Each look is noted for the guard, and an ended stage is not polled again.
    assert [command.startswith("touch /jobs/1/looked ") for command in action.commands] == [True, True]


def test_a_failed_release_stops_the_model_and_removes_its_files(shown: list[str]) -> None:
    action = Two([output(7), output(7)], looks(1, {"failed": True, "msg": "no compiler"}))
    assert action.go() == {"failed": True, "msg": "no compiler"}
    assert action.commands[-1] == "kill 7; rm -rf /jobs/1; rm -f /jobs/results"
    assert shown == ["[h] building"]


def test_a_failed_release_reports_the_failure_of_the_model(shown: list[str]) -> None:
    failed = {"failed": True, "msg": "no compiler", "problems": [{"subject": "compiler"}]}
    action = Two([output(7, json.dumps(WRONG))], looks(0, failed))
    result = action.go()
    assert (result["msg"], [problem["subject"] for problem in result["problems"]]) == (
        "no compiler\nno model",
        ["compiler", "gguf_model_source"],
    )
    assert action.commands[-1] == "rm -rf /jobs/1; rm -f /jobs/results"
    assert shown[-1].startswith("Warning: h: gguf_model has failed. ")


def test_a_problem_that_the_action_raises_hides_nothing(shown: list[str]) -> None:
    def make(_action: Two) -> dict[str, typing.Any]:
        raise ProblemError(Problem("builders", "no group", "a group"))

    result = Two([output(7, json.dumps(WRONG))], make).go()
    assert result["msg"] == "builders: expected a group, found no group.\nno model"
    assert len(shown) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, AnsibleConnectionFailure])
def test_an_interrupted_release_stops_the_model(shown: list[str], error: type[BaseException]) -> None:
    def make(_action: Two) -> dict[str, typing.Any]:
        raise error

    action = Two([output(7)], make)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        with pytest.raises(error):
            action.go()
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)
    assert action.commands[-1] == "kill 7; rm -rf /jobs/1; rm -f /jobs/results"
    assert shown == ["[h] building"]


class Begun(progress_action.ProgressAction):
    """The model's action, which waits for its own job. ``there`` tells whether the job's folder is still there."""

    ROLE = "gguf_model"
    _module = "gguf_model"

    def __init__(self, result: dict[str, typing.Any], there: bool) -> None:
        self.result, self.there = result, there
        self.runs = 0

    @property
    def _templar(self) -> Begun:
        return self

    def template(self, value: object) -> object:
        return value

    def _low_level_execute_command(self, command: str) -> dict[str, typing.Any]:
        if command == "test -d /jobs/1":
            return {"rc": 0 if self.there else 1, "stdout": ""}
        return {"rc": 0, "stdout": output(7, json.dumps(self.result)) if RESULT in command else ""}

    def _admitted(self, answer: typing.Mapping[str, typing.Any], _task_vars: object) -> dict[str, typing.Any]:
        return dict(answer)

    def _run_in_background(
        self, _arguments: dict[str, typing.Any], _task_vars: dict[str, typing.Any]
    ) -> dict[str, typing.Any]:
        self.runs += 1
        return MADE

    def go(self) -> dict[str, typing.Any]:
        return self._run_beside({}, {"inventory_hostname": "h", progress_action.BESIDE: JOB._asdict()})


@pytest.mark.usefixtures("shown")
@pytest.mark.parametrize(
    ("result", "there", "runs"),
    [(WRONG, True, 0), (MADE, True, 0), (MADE, False, 0), ({"failed": True, "msg": "ended"}, False, 1)],
)
def test_a_model_that_ended_itself_unwatched_is_run_again(
    result: dict[str, typing.Any], there: bool, runs: int
) -> None:
    action = Begun(result, there)
    assert action.go() == (MADE if runs else result)
    assert action.runs == runs
