# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A fleet of hosts whose modules are stand-ins: the plays and actions are real, no module runs."""

import dataclasses
import json
import os
import pathlib
import pty
import subprocess
import sys
import typing

from llama_fleet.run import events, runner
from tests.unit import imports

Call = dict[str, typing.Any]
ROOT = pathlib.Path(__file__).resolve().parents[3]
MODULES = (
    "nvidia_driver_info",
    "cuda_toolkit",
    "llama_cpp_native",
    "llama_cpp_release",
    "gguf_model",
    "llama_gateway",
    "llama_server",
    "llama_server_info",
    "plan_info",
    "preflight_info",
)
# The real action without the part that starts a module.
ACTION = """
import json, os
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Snapshot
from ansible_collections.llama_fleet.core.plugins.plugin_utils.watch import Reporter
from ansible_collections.llama_fleet.core.plugins.action.real_{name} import ActionModule as Real
from ansible_collections.llama_fleet.core.plugins.fakes import answer

class ActionModule(Real):
    def _execute_module(self, module_args=None, task_vars=None, **_more):
        with open(os.environ["FAKE_LOG"], "a") as log:
            call = {{"of": task_vars["inventory_hostname"], "module": "{name}", **(module_args or {{}})}}
            log.write(json.dumps(call) + "\\n")
        return answer("{name}", module_args, task_vars)

    def _only_begin(self, arguments, task_vars):
        with open(os.environ["FAKE_LOG"], "a") as log:
            log.write(json.dumps({{"begun_for": task_vars["inventory_hostname"], "module": "{name}"}}) + "\\n")
        job = {{"role": "{name}", "progress_file": "", "results_file": ""}}
        return {{"changed": False, "would_change": True, "begun": job}}

    def _run_beside(self, arguments, task_vars):
        return self._run_in_background(arguments, task_vars)

    def _run_in_background(self, arguments, task_vars):
        for snapshot in (Snapshot("working on {name}", 1, 4), Snapshot("finishing {name}")):
            Reporter(self._shown_host(task_vars)).show(snapshot)
        return self._execute_module(arguments, task_vars)
"""
FAKES = """
import dataclasses, json, os
from ansible_collections.llama_fleet.core.plugins.module_utils.planning import plan
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import RefusedError
from ansible_collections.llama_fleet.core.plugins.plugin_utils.host_results import STAGES

def planned(module, variables):
    # A stage of the real plan that asks the stand-in of its module.
    def run(caller):
        with open(os.environ["FAKE_LOG"], "a") as log:
            call = {"planned_for": variables["inventory_hostname"], "module": module, **caller.params}
            log.write(json.dumps(call) + "\\n")
        result = answer(module, caller.params, variables)
        if result.pop("failed", False):
            raise RefusedError(result.pop("msg"), result)
        return result
    return run

def plan_all(given, variables):
    for role, module in STAGES.items():
        plan.STEPS[role] = dataclasses.replace(plan.STEPS[role], run=planned(module, variables))
    plans = {}
    for name, instance in given["instances"].items():
        hidden = given["secrets"][name]
        arguments = {role: {**values, **hidden[role]} for role, values in instance.items()}
        plans[name] = plan.plan_instance(arguments, False, print, given["stages"])
    return {"changed": False, "plans": plans, "has_several": len(plans) > 1}

def answer(module, given, variables):
    if module == "plan_info":
        return plan_all(given, variables)
    if variables.get("fake_answer"):  # a test's own
        return dict(variables["fake_answer"])
    if module == "preflight_info":
        full = any(instance["llama_cpp_source"] == "too much" for instance in given["instances"].values())
        told = [plans["failed"]["msg"] for plans in given["plans"].values() if "failed" in plans]
        told += ["disk space: expected much, found little.", "clock: expected a minute, found an hour."] if full else []
        failed = {"failed": True, "msg": "\\n".join(told)} if told and given.get("stop") else {}
        return {"changed": False, "checks": [], "errors": [], **failed}
    if module == "llama_gateway":
        return {"changed": True, "endpoint": "http://127.0.0.1:8000", "models": [], "servers": [], "process": ""}
    if module == "nvidia_driver_info" and given["gpu"] == "required":
        return {"failed": True, "msg": "no GPU", "problems": [{"code": "no_device"}]}
    if module == "nvidia_driver_info":
        found = {"cuda_architectures": ["90-real"], "driver": {"version": "580.1"}}
        return {"changed": False, "backend": "cpu" if given["gpu"] == "none" else "cuda", **found}
    if given.get("source") == "missing":
        problems = [{"subject": "gguf_model_source"}]
        return {"failed": True, "msg": "gguf_model_source: expected a model, found nothing.", "problems": problems}
    plan = bool(given.get("plan_only"))
    if module == "llama_server":
        # Of one whose model is there and that is to be on this port nothing changes.
        ready = (plan, given["port"], given["model"]) == (True, 8090, "/gguf_model/there")
        facts = {"instance": given["instance"], "generation": 1, "endpoint": f"http://127.0.0.1:{given['port']}"}
        facts["pid"] = 0 if plan else 7
        return {"changed": not plan, "would_change": not ready, "ready": ready, **facts}
    if module == "llama_cpp_native":
        return {"changed": True, "build": given["build"]}
    source = given.get("source", "")
    path = f"/{module}/{given.get('backend', '')}{source}"
    new = source != "there"
    beside = {"build": "b1", "target": "t", "known": ""} if given.get("method") == "background" else {}
    more = {"beside": beside} if module == "llama_cpp_release" else {}
    return {"changed": not plan, "path": path, "would_change": new, "would_compile": new, "version": "13.0", **more}
"""


@dataclasses.dataclass(frozen=True)
class Done:
    """A run of ansible-playbook that has ended."""

    code: int
    output: str
    errors: str

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.output.splitlines()]


class Fleet:
    """Runs a play over hosts, and tells what the modules of each were given."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.collections = folder / "collections"
        self.log = folder / "log"
        self.inventory = folder / "hosts.json"
        self.groups: dict[str, list[str]] = {}
        self.seen: list[events.Event] = []

    def run(
        self,
        playbook: str,
        hosts: dict[str, typing.Any],
        variables: dict[str, object] | None = None,
        check: bool = False,
        verbosity: int = 0,
    ) -> events.Outcome:
        self._write(hosts)
        request = runner.Request(playbook, variables or {}, (self.inventory,), check=check, verbosity=verbosity)
        return runner.run(request, self.seen.append)

    def _write(self, hosts: dict[str, typing.Any]) -> None:
        everyone = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "llama_cpp_controller_cache": "",
            "llama_fleet_asks_for_newest": False,
            # Published binaries would be asked for on the internet.
            "llama_cpp_method": "source",
        }
        groups = {name: {"hosts": dict.fromkeys(members)} for name, members in self.groups.items()}
        content = {"all": {"hosts": hosts, "vars": everyone, "children": groups}}
        self.inventory.write_text(json.dumps(content), encoding="utf-8")
        self.log.write_text("", encoding="utf-8")

    def calls(self, host: str) -> list[Call]:
        return [call for call in self._logged() if call.get("of") == host]

    def plans(self, host: str) -> list[Call]:
        """Return what each stage that was planned within a call got."""
        return [call for call in self._logged() if call.get("planned_for") == host]

    def _logged(self) -> list[Call]:
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    def failures(self) -> dict[str, str]:
        return {event.host: event.text for event in self.seen if isinstance(event, events.Failure)}

    def playbook(self, name: str, hosts: dict[str, typing.Any], *arguments: str, **environment: str) -> "Done":
        """Run a play by ``ansible-playbook`` with the clone's ansible.cfg, without a terminal."""
        done = subprocess.run(
            self._command(name, hosts, arguments),
            env=self._environment(environment),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def playbook_on_terminal(self, name: str, hosts: dict[str, typing.Any], *arguments: str) -> "Done":
        """Run a play as ``playbook`` does, on a terminal of 100 columns."""
        ours, theirs = pty.openpty()
        command, environment = self._command(name, hosts, arguments), {"TERM": "xterm", "COLUMNS": "100"}
        with subprocess.Popen(
            command, env=self._environment(environment), cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs
        ) as process:
            os.close(theirs)
            output = b""
            try:
                while data := os.read(ours, 1 << 16):
                    output += data
            except OSError:  # how Linux tells that the other end is closed
                os.close(ours)
        return Done(process.returncode, output.decode().replace("\r\n", "\n"), "")

    def _command(self, name: str, hosts: dict[str, typing.Any], arguments: tuple[str, ...]) -> list[str]:
        self._write(hosts)
        program = pathlib.Path(sys.executable).parent / "ansible-playbook"
        playbook = name if "/" in name else f"{events.NAMESPACE}.{name}"
        return [str(program), "-i", str(self.inventory), playbook, *arguments]

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        """Return the environment of a clone whose collection has the stand-ins."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith("ANSIBLE_")}
        return {
            **kept,
            "PYTHONPATH": imports.PYTHONPATH,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
            "ANSIBLE_HOME": str(self.log.parent / "home"),
            **more,
        }
