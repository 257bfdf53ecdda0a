# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Hold knowledge that once stood in several files to the one file that has it."""

import pathlib

import pytest

REPOSITORY = pathlib.Path(__file__).parents[2]
COLLECTION = "collections/ansible_collections/llama_fleet/core/plugins"
SOURCES = ("src", "plugins", COLLECTION)


@pytest.mark.parametrize(
    ("text", "file"),
    [
        # The TLS client of a server with its own certificate.
        ("ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)", f"{COLLECTION}/module_utils/server/gate/trust.py"),
        ("ssl.CERT_NONE", f"{COLLECTION}/module_utils/server/gate/trust.py"),
        # The arguments of a Runner: its protocol, what makes one of a call, and the one that runs.
        ("env: typing.Mapping[str, str] | None = None,\n", f"{COLLECTION}/module_utils/host/commands.py"),
        # How a request failed, and an address that is none.
        ('("no answer', f"{COLLECTION}/module_utils/fetch/ask.py"),
        ('"an invalid address"', f"{COLLECTION}/module_utils/fetch/ask.py"),
        # An inventory without a host for a play, and a host that only this machine reaches.
        ('"The inventory has no host for this play."', "src/llama_fleet/run/events.py"),
        ("ipaddress.ip_address(host).is_loopback", f"{COLLECTION}/module_utils/host/ports.py"),
    ],
)
def test_one_file_has_it(text: str, file: str) -> None:
    files = [path for folder in SOURCES for path in (REPOSITORY / folder).rglob("*.py")]
    assert [str(path.relative_to(REPOSITORY)) for path in files if text in path.read_text(encoding="utf-8")] == [file]
