# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""tests/gpu/report --write: the figures in docs/benchmarks.md."""

from __future__ import annotations

import typing

from tests.gpu import report
from tests.unit.gpu.report_case import good, set_instance, start, write

if typing.TYPE_CHECKING:
    import pathlib

    import pytest

BEFORE = f"# Benchmarks\n\n{report.BEGIN}\nold\n{report.END}\n\n## More\n"


def test_write_replaces_what_stands_between_the_marks(tmp_path: pathlib.Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(BEFORE, encoding="utf-8")
    file = write(tmp_path, good())
    done = start(file, "--write", page)
    assert (done.returncode, done.stderr) == (0, "")
    assert page.read_text(encoding="utf-8") == BEFORE.replace("old\n", done.stdout)
    assert start(file, "--write", page).returncode == 0
    assert page.read_text(encoding="utf-8") == BEFORE.replace("old\n", done.stdout), "again makes no difference"


def test_write_leaves_alone_what_contradicts_or_has_no_marks(tmp_path: pathlib.Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(BEFORE, encoding="utf-8")
    lines = good()
    set_instance(lines, device="cpu")
    done = start(write(tmp_path, lines), "--write", page)
    assert done.returncode == report.CONTRADICTED
    assert "page.md stays as it is" in done.stderr
    assert page.read_text(encoding="utf-8") == BEFORE
    for text in ("# nothing\n", f"{report.END}\n{report.BEGIN}\n", BEFORE + BEFORE):
        page.write_text(text, encoding="utf-8")
        done = start(write(tmp_path, good()), "--write", page)
        assert done.returncode == report.WRONG_USE
        assert "page.md has not one line" in done.stderr
        assert page.read_text(encoding="utf-8") == text


def test_the_page_has_the_marks_and_takes_no_figures_without_a_gpu(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = report.BENCHMARKS.read_text(encoding="utf-8")
    new = report.replaced(text, "new\n")
    assert new is not None
    assert new != text
    page = tmp_path / "benchmarks.md"
    page.write_text(text, encoding="utf-8")
    monkeypatch.setattr(report, "BENCHMARKS", page)
    lines = good()
    lines[0]["run"].update(mode="cpu", gpus=[])
    assert report.main([str(write(tmp_path, lines)), "--write"]) == report.WRONG_USE
    assert "benchmarks.md is for figures of GPUs, and results.jsonl has none" in capsys.readouterr().err
    assert page.read_text(encoding="utf-8") == text
