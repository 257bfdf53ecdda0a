# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
import pathlib
import shutil
import tempfile

import pytest

from llama_fleet import settings
from llama_fleet.run import runner
from tests.unit.plays.fleet import ACTION, FAKES, MODULES, Fleet


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> Fleet:
    collection = tmp_path / "collections/ansible_collections/llama_fleet/core"
    actions = collection / "plugins/action"
    actions.mkdir(parents=True)
    for name in ("galaxy.yml", "meta", "playbooks", "roles"):
        (collection / name).symlink_to(settings.COLLECTION / name)
    for name in ("doc_fragments", "module_utils", "modules", "plugin_utils"):
        (collection / "plugins" / name).symlink_to(settings.COLLECTION / "plugins" / name)
    (collection / "plugins/fakes.py").write_text(FAKES, encoding="utf-8")
    shutil.copy(settings.COLLECTION / "plugins/action/validate_variables.py", actions)
    for name in MODULES:
        shutil.copy(settings.COLLECTION / f"plugins/action/{name}.py", actions / f"real_{name}.py")
        (actions / f"{name}.py").write_text(ACTION.format(name=name), encoding="utf-8")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(runner, "COLLECTIONS", tmp_path / "collections")
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    return Fleet(tmp_path)
