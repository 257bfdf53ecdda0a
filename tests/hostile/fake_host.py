# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Stands in for the programs of a managed host, so that a test says what the host answers: ``fake_host.py
ssh|sftp|python …``.

``ssh`` runs its last word on this machine. ``sftp`` reads a batch as the real one does: one command a line, and what
stands behind a '!' is run on the controller. ``python`` notes which module it is given with which arguments, and prints
what the folder of the host's answers says.
"""

from __future__ import annotations

import ast
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import typing

Arguments = dict[str, typing.Any]
ANSWERS, ARCHIVE, CALLS = "answers.json", "archive", "calls"


def sftp(batch: str) -> int:
    """Run a batch to its end.

    The real one stops at a line that it cannot read, which a path with the right quotes keeps it from.
    """
    status = 0
    for line in batch.splitlines():
        if line.lstrip().startswith("!"):
            subprocess.run(line.lstrip()[1:], shell=True, check=False)
            continue
        try:
            _command, source, target = shlex.split(line)
            shutil.copyfile(source, target)
        except (ValueError, OSError) as error:
            sys.stderr.write(f"{line}: {error}\n")
            status = 1
    return status


def python(host: pathlib.Path, arguments: list[str]) -> int:
    answers = json.loads((host / ANSWERS).read_text(encoding="utf-8"))
    if len(arguments) < 4:
        payload = pathlib.Path(arguments[0]).read_text(encoding="utf-8") if arguments else sys.stdin.read()
        print(_answer(host, answers, *_called(payload)))
        return 0
    # async_wrapper.py with its arguments, whose order differs from one ansible-core to the next
    carried = next(word for word in arguments if "/AnsiballZ_" in word)
    name = next(word for word in arguments if re.fullmatch(r"j[0-9]+", word))
    module, given = _called(pathlib.Path(carried).read_text(encoding="utf-8"))
    jobs = pathlib.Path(os.environ["ANSIBLE_ASYNC_DIR"]).expanduser()
    jobs.mkdir(parents=True, exist_ok=True)
    if "progress" in answers:
        place = pathlib.Path(given["progress_file"]).expanduser()
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(answers["progress"], encoding="utf-8")
    (jobs / name).write_text(_answer(host, answers, module, given), encoding="utf-8")
    job = {"started": 1, "finished": 0, "ansible_job_id": name, "results_file": str(jobs / name)}
    print(json.dumps({**job, **answers.get("job", {})}))
    return 0


def _called(payload: str) -> tuple[str, Arguments]:
    """Return name and arguments of the module in what Ansible sends to a host."""
    module = re.search(r"ansible_module='llama_fleet\.core\.(\w+)'", payload)
    params = re.search(r"^params=(.*),$", payload, re.MULTILINE)
    assert module, payload[-2000:]
    assert params, payload[-2000:]
    return module[1], json.loads(ast.literal_eval(params[1]))["ANSIBLE_MODULE_ARGS"]


# The stages that plan_info plans, by role.
STAGES = {
    "nvidia_driver": "nvidia_driver_info",
    "llama_cpp": "llama_cpp_release",
    "gguf_model": "gguf_model",
    "llama_server": "llama_server",
}


def _planned(host: pathlib.Path, answers: Arguments, instances: Arguments) -> str:
    """Return the plan of all stages. Keys that no stage documents also lie beside the plans."""
    plans: Arguments = {}
    beside: Arguments = {}
    for name, given in instances.items():
        plan: Arguments = {"cuda_toolkit": {}, "is_settled": False, "has_work": True}
        for role, module in STAGES.items():
            text = _answer(host, answers, module, {**given[role], "plan_only": True})
            try:
                plan[role] = json.loads(text)
            except ValueError:
                return text
            if not isinstance(plan[role], dict):
                return text
            if plan[role].get("failed"):
                plan["failed"] = {key: plan[role].get(key, empty) for key, empty in (("msg", ""), ("problems", []))}
            beside.update(plan[role])
        plans[name] = plan
    beside = {key: value for key, value in beside.items() if key not in ("changed", "failed", "msg", "problems")}
    return json.dumps({**beside, "changed": False, "plans": plans, "has_several": len(plans) > 1})


def _answer(host: pathlib.Path, answers: Arguments, module: str, arguments: Arguments) -> str:
    if module == "plan_info":
        return _planned(host, answers, arguments["instances"])
    kind = "packed" if arguments.get("state") == "packed" else "plan" if arguments.get("plan_only") else "run"
    with (host / CALLS).open("a", encoding="utf-8") as log:
        log.write(json.dumps({"module": module, "kind": kind, **arguments}) + "\n")
    found = answers.get(f"{module}.{kind}", answers.get(module, {}))
    if (
        (module, kind) == ("llama_cpp_release", "plan")
        and isinstance(found, dict)
        and answers["takes"]
        and answers["name"] in (arguments.get("offered") or "")
    ):
        found = {**found, "would_compile": False, "takes": answers["name"], "taken_from": "controller"}
    if (
        module == "preflight_info" and arguments.get("stop") and isinstance(found, dict)
    ):  # as the real one tells what a plan has failed with
        told = [plans["failed"]["msg"] for plans in arguments["plans"].values() if "failed" in plans]
        found = {**found, **({"failed": True, "msg": "\n".join(told)} if told else {})}
    if kind == "packed":
        folder = pathlib.Path(arguments["pack_to"])
        folder.mkdir()
        shutil.copyfile(host / ARCHIVE, folder / f"{answers['name']}.tar.gz")
    return found if isinstance(found, str) else json.dumps(found)


def main(program: str, *words: str) -> int:
    if program == "ssh":
        os.execvp("sh", ["sh", "-c", words[-1]])
    return sftp(sys.stdin.read()) if program == "sftp" else python(pathlib.Path(words[0]), list(words[1:]))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
