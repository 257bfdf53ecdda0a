# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.gateway import apply as gateway_apply
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.apply import apply, check
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.host import GatewayHost, Observed
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.options import Options
from ansible_collections.llama_fleet.core.plugins.module_utils.gateway.plan import Plan, diff
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError

if typing.TYPE_CHECKING:
    import pathlib

KEY = "the-key-of-the-servers"
RESTART = "systemctl restart llama-fleet-gateway.service"


class Systemd:
    """A Runner that notes commands. HAProxy refuses a configuration with the key in its words."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def __call__(self, command: typing.Sequence[str], **_more: object) -> Result:
        self.commands.append(" ".join(command))
        refused = "-c" in command
        return Result(1 if refused else 0, "", f"[ALERT] unknown keyword in 'Bearer {KEY}'\n" if refused else "")


@pytest.fixture
def systemd() -> Systemd:
    return Systemd()


@pytest.fixture
def host(systemd: Systemd, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> GatewayHost:
    monkeypatch.setattr(gateway_apply, "_PATIENCE", 0.0)
    for name in ("units", "root", "run"):
        (tmp_path / name).mkdir()
    return GatewayHost(systemd, tmp_path / "units", "/usr/sbin/haproxy", True, "root")


@pytest.fixture
def options(tmp_path: pathlib.Path) -> Options:
    return Options(root=tmp_path / "root", runtime_root=tmp_path / "run", backend_key=KEY)


def _plan(**given: typing.Any) -> Plan:
    usual: dict[str, typing.Any] = {
        **dict.fromkeys(("install", "enable"), False),
        **dict.fromkeys(("back", "held", "record"), ()),
        "texts": {"haproxy.cfg": "new", "keys.map": "new", "tls.pem": "new"},
        "before": {"haproxy.cfg": "old", "keys.map": "old", "tls.pem": None},
        "unit": "new",
        "unit_before": "old",
        "maps": {},
        "process": "restart",
        "digest": "d",
    }
    return Plan(**{**usual, **given})


def _contents(folder: pathlib.Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_a_gateway_that_does_not_answer_gets_its_files_back_and_starts_again(
    host: GatewayHost, systemd: Systemd, options: Options
) -> None:
    for name in ("haproxy.cfg", "keys.map"):
        (options.root / name).write_text("old", encoding="utf-8")
    with pytest.raises(ProblemError, match="no answer after its restart") as caught:
        apply(host, options, (), _plan())
    assert "the gateway is as it was before" in str(caught.value)
    assert _contents(options.root) == {"haproxy.cfg": "old", "keys.map": "old", "holds.map": ""}
    assert _contents(host.unit_root) == {host.unit.name: "old"}
    assert systemd.commands.count(RESTART) == 2


def test_a_first_start_that_fails_leaves_no_configuration(
    host: GatewayHost, systemd: Systemd, options: Options
) -> None:
    with pytest.raises(ProblemError):
        apply(host, options, (), _plan(before=dict.fromkeys(_plan().texts), unit_before=None))
    assert _contents(options.root) == {"holds.map": ""}
    assert systemd.commands.count(RESTART) == 1


def test_a_process_that_starts_anew_holds_nothing(
    host: GatewayHost, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_apply, "_update_process", lambda *_arguments: None)
    for process, left in (("reload", "model-a held\n"), ("restart", "")):
        (options.root / "holds.map").write_text("model-a held\n", encoding="utf-8")
        apply(host, options, (), _plan(process=process))
        assert (options.root / "holds.map").read_text(encoding="utf-8") == left


def test_a_group_that_is_not_there_is_a_problem(host: GatewayHost, options: Options) -> None:
    nobody = GatewayHost(host.run, host.unit_root, host.program, True, "no-such-group-here")
    with pytest.raises(ProblemError, match="haproxy: expected the user and the group no-such-group-here"):
        apply(nobody, options, (), _plan())
    assert _contents(options.root) == {}


def test_what_haproxy_says_of_a_configuration_shows_no_key(host: GatewayHost, options: Options) -> None:
    with pytest.raises(ProblemError, match="unknown keyword") as caught:
        check(host, options, ())
    assert KEY not in str(caught.value)


def test_a_diff_shows_neither_keys_nor_their_digests() -> None:
    texts = {"keys.map": "0123abcd ann\n", "tls.pem": "PRIVATE", "models.map": "a model-a\n"}
    seen = Observed(dict.fromkeys(texts, ""), "", True, True, [], None, {}, ())
    shown = diff(seen, _plan(texts=texts, process=""))["prepared"]
    assert "+a model-a" in shown
    assert "keys.map: other keys of clients" in shown
    assert not any(secret in shown for secret in ("0123abcd", "PRIVATE"))
