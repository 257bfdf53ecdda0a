# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.llama_fleet.core.plugins.module_utils.host import systemd_text

NASTY = st.text(alphabet="ab0 \t\"'\\$%{}`;#=~|&<>*?!-/.é", max_size=20).filter(systemd_text.is_one_line)
VALUES = NASTY | st.text(max_size=20).filter(systemd_text.is_one_line)
NAMES = st.from_regex(r"LLAMA_ARG_[A-Z]{1,8}", fullmatch=True)


@settings(deadline=None)
@given(st.dictionaries(NAMES, VALUES))
@example({"LLAMA_ARG_ALIAS": 'a "b" \\ $HOME %n `c` \''})
def test_an_environment_file_gives_back_what_was_written(variables: dict[str, str]) -> None:
    assert systemd_text.parse_environment_file(systemd_text.environment_file(variables)) == variables


@settings(deadline=None)
@given(st.dictionaries(NAMES, VALUES))
def test_a_shell_reads_the_same_from_an_environment_file(variables: dict[str, str]) -> None:
    # Unlike a shell, shlex does not unescape $ and ` inside quotes.
    text = systemd_text.environment_file(variables).replace("\\$", "$").replace("\\`", "`")
    if not any("\\" in value for value in variables.values()):
        assert dict(word.split("=", 1) for word in shlex.split(text)) == variables


@settings(deadline=None)
@given(st.lists(VALUES, max_size=5))
@example([";", "", "$$", "%%", "${X}", 'a"b\\', "-x", "a'b"])
def test_a_command_line_gives_back_what_was_written(arguments: list[str]) -> None:
    assert systemd_text.parse_command_line(systemd_text.command_line(arguments)) == arguments


@settings(deadline=None)
@given(st.lists(VALUES, max_size=5))
def test_a_command_line_is_one_line_without_live_specifiers_or_variables(arguments: list[str]) -> None:
    text = systemd_text.command_line(arguments)
    assert "\n" not in text
    assert "%" not in text.replace("%%", "")
    assert "$" not in text.replace("$$", "")


@pytest.mark.parametrize("value", ["a\nb", "a\x00b", "a\x1bb", "\ud800", "a\u2028b", "a\tb"])
def test_what_cannot_be_written_is_known(value: str) -> None:
    assert not systemd_text.is_one_line(value)


def test_plain_values_stay_readable() -> None:
    assert (
        systemd_text.environment_file({"B": "/models/a.gguf", "A": "two words"}) == 'A="two words"\nB=/models/a.gguf\n'
    )
    assert systemd_text.command_line(["/bin/x", "--a", "50 %", ""]) == '/bin/x --a "50 %%" ""'


def test_mounts_have_the_names_that_systemd_gives_them() -> None:
    assert systemd_text.mount_units(["/srv/a b/c-d", "/srv/a b", '/opt/.x/ü%"$', "/"]) == [
        "srv.mount",
        r"srv-a\x20b.mount",
        r"srv-a\x20b-c\x2dd.mount",
        "opt.mount",
        "opt-.x.mount",
        r"opt-.x-\xc3\xbc\x25\x22\x24.mount",
    ]


@pytest.mark.skipif(shutil.which("systemd-escape") is None, reason="systemd-escape is not here")
def test_systemd_agrees_about_the_names_of_mounts() -> None:
    paths = ["/srv/a b/c-d", '/opt/.x/ü%"$', "/.hidden/x", "/a\\b/~c@d:e_f.g"]
    done = subprocess.run(["systemd-escape", "--path", "--suffix=mount", *paths], capture_output=True, check=True)
    assert [systemd_text.mount_units([path])[-1] for path in paths] == done.stdout.decode("utf-8").split()
