# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The recorded run in the README has the stages that the play names, and the phases that the page on runs explains."""

import pathlib
import re

from llama_fleet import settings

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLAYBOOKS = ROOT / "collections" / "ansible_collections" / "llama_fleet" / "core" / "playbooks"
README = (ROOT / "README.md").read_text(encoding="utf-8")
STATES = r"(?:ok|nothing to do|there is work to do|changed, [\d a-z.]+)"


def recorded() -> list[str]:
    """Return the lines of the recorded run, without the command."""
    (block,) = re.findall(r"^```text\n\$ \./llama-fleet up\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    return str(block).splitlines()


def test_the_recorded_stages_are_those_of_the_play() -> None:
    plays = [PLAYBOOKS / "site.yml", *(PLAYBOOKS / "tasks").glob("*.yml")]
    named = re.findall(r"- name: (.+)$", "\n".join(path.read_text(encoding="utf-8") for path in plays), re.MULTILINE)
    named += [stage.name for stage in settings.load().stages["site"]]
    lines = [re.fullmatch(rf"localhost: (.+): {STATES}", line) for line in recorded()]
    stages = [line[1] for line in lines if line]
    assert len(stages) == 8
    assert [stage for stage in stages if stage not in named] == []


def test_the_recorded_run_ends_with_an_answer_and_the_next_request() -> None:
    summary = next(number for number, line in enumerate(recorded()) if re.match(r"changed=3 in .+, [5-8] module", line))
    _blank, answer, figures, _blank, endpoint, request, chat = recorded()[summary + 1 :]
    assert len(answer.split()) >= 3
    assert re.fullmatch(r"\d+ tokens.*, [\d.]+ tokens/s, first token after [\d.]+ s", figures)
    assert request.startswith(f"curl {endpoint}/v1/chat/completions ")
    assert chat.startswith("./llama-fleet chat ")


def test_every_recorded_phase_is_explained() -> None:
    page = (
        (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8").partition("## The phases of a first start")[2]
    )
    done = re.compile(rf"(.+): {STATES}")
    texts = [line.removeprefix("localhost: ") for line in recorded() if line.startswith("localhost: ")]
    phases = {" ".join(text.split()[:2]) for text in texts if not done.fullmatch(text)}
    assert len(phases) >= 8
    assert sorted(phase for phase in phases if phase.split()[0] not in page) == []
