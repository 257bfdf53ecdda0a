# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test the command open: the web interface of a server."""

import webbrowser

import pytest

from llama_fleet.cli import commands
from tests.unit.chat import llama

pytestmark = pytest.mark.usefixtures("no_terminal")


@pytest.mark.parametrize("display", ["DISPLAY", "WAYLAND_DISPLAY", "BROWSER", ""])
def test_the_web_interface_is_opened_on_a_display(
    url: str,
    behaviour: llama.Behaviour,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    display: str,
) -> None:
    behaviour.interface = True
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    if display:
        monkeypatch.setenv(display, ":0")
    assert commands.main(["open", "--url", url]) == 0
    assert capsys.readouterr().out == f"{url}/\n"
    assert opened == ([f"{url}/"] if display else [])


def test_a_user_of_ssh_gets_the_line_for_the_own_machine(
    url: str, behaviour: llama.Behaviour, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    behaviour.interface = True
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.7 22")
    assert commands.main(["open", "--url", url]) == 0
    port = url.rpartition(":")[2]
    assert capsys.readouterr().out == f"{url}/\nssh -N -L {port}:127.0.0.1:{port} 192.0.2.7\n"


def test_a_server_without_a_web_interface_is_told(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["open", "--url", url]) == 1
    assert f"Error: {url}/: the server has no web interface" in capsys.readouterr().err
