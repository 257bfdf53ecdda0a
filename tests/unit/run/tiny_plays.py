# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A tiny collection whose plays do what a test needs, and a run of one of them."""

import dataclasses
import pathlib
import typing

from llama_fleet.run import runner
from llama_fleet.run.events import Event, Outcome

# What the play itself can tell of its run.
TOLD = {
    "become": "{{ ansible_become | default('unset') }}",
    "check": "{{ ansible_check_mode }}",
    "diff": "{{ ansible_diff_mode }}",
    "verbosity": "{{ ansible_verbosity }}",
    "python": "{{ ansible_python_interpreter | default('unset') }}",
    "tmp": "{{ ansible_remote_tmp | default('unset') }}",
    "mode": "{{ lookup('pipe', 'stat -c %a $ANSIBLE_HOME/../variables.yml') }}",
    "home": "{{ lookup('env', 'ANSIBLE_HOME') }}",
    "path": "{{ lookup('env', 'PATH') }}",
    "config": "{{ lookup('env', 'ANSIBLE_CONFIG') }}",
    "host keys": "{{ lookup('env', 'ANSIBLE_HOST_KEY_CHECKING') }}",
    "ssh": "{{ lookup('env', 'ANSIBLE_SSH_EXTRA_ARGS') }}",
    "lock": "{{ llama_cpp_upstream_lock | default('unset') }}",
}
COMMAND = "ansible.builtin.command"
TASKS: dict[str, dict[str, dict[str, typing.Any]]] = {
    "echo": {COMMAND: {"argv": ["printf", "%s", "{{ text }}{{ nested.a[0] | default('') }}"]}},
    "fail": {COMMAND: {"argv": ["false"]}},
    # Only builtins have what is looked for: on a command line another run of this test would find it.
    "secret": {
        COMMAND: {
            "argv": [
                "sh",
                "-c",
                (
                    'all=$(cat /proc/[0-9]*/cmdline | tr -d "\\0"); case "$all" in *s3cr3t-$((40+2))*) echo 1;; '
                    "*) echo "
                    "0;; esac"
                ),
            ]
        }
    },
    "sleep": {COMMAND: {"argv": ["setsid", "sh", "-c", "echo $$ > {{ file }}; exec sleep 61"]}},
    "tell": {"ansible.builtin.debug": {"msg": TOLD}},
    "wait": {"llama_fleet.core.wait": {"file": "{{ file }}"}},
}
# An action that ends as those of the collection do, which then stop their jobs.
WAIT = """
import os, pathlib, signal, time
from ansible.plugins.action import ActionBase

class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        file = pathlib.Path(self._task.args["file"])
        def end(*_arguments):
            time.sleep(0.5)  # as long as a command on another host takes
            file.with_suffix(".ended").touch()
            raise KeyboardInterrupt
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        file.write_text(str(os.getpid()))
        time.sleep(60)
"""


def run(events: list[Event], playbook: str, **options: object) -> Outcome:
    request = dataclasses.replace(runner.Request(playbook, {}), **options)  # type: ignore[arg-type]  # fields by name
    return runner.run(request, events.append)


def no_traces(tmp_path: pathlib.Path) -> bool:
    return list((tmp_path / "tmp").iterdir()) == []
