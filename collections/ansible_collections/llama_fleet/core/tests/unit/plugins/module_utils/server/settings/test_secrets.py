# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import options as server_options
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import secrets as server_secrets
from ansible_collections.llama_fleet.core.tests.unit.fakes.server_options import WANTED


@pytest.mark.parametrize(
    ("api_key", "api_keys", "content"),
    [
        ("", (), ""),
        ("a", (), "a\n"),
        ("", ("b", "c"), "b\nc\n"),
        ("a", ("b", "a", "b"), "a\nb\n"),
        ("a#b", (), "a#b\n"),
    ],
)
def test_the_key_file_holds_each_key_once(api_key: str, api_keys: tuple[str, ...], content: str) -> None:
    options = dataclasses.replace(WANTED, api_key=api_key, api_keys=api_keys)
    assert server_options.option_problems(options) == []
    assert server_secrets.key_file(options) == content


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"api_keys": ("",)},
            "llama_server_api_keys: expected keys that are not empty, or no list, found an empty key",
        ),
        (
            {"api_keys": ("s3cret", "")},
            "llama_server_api_keys: expected keys that are not empty, or no list, found an empty key",
        ),
        (
            {"api_key": "#s3cret"},
            (
                "llama_server_api_key: expected printable ASCII without spaces, and no # first, found a key "
                "that a key file or a request cannot hold"
            ),
        ),
        (
            {"api_key": "s3cret\n"},
            "llama_server_api_key: expected printable ASCII without spaces, and no # first, found a key",
        ),
        (
            {"api_key": " s3cret"},
            "llama_server_api_key: expected printable ASCII without spaces, and no # first, found a key",
        ),
        (
            {"api_keys": ("s3cret s3cret",)},
            "llama_server_api_keys: expected printable ASCII without spaces, and no # first, found a key",
        ),
        (
            {"api_keys": ("s3crét",)},
            "llama_server_api_keys: expected printable ASCII without spaces, and no # first, found a key",
        ),
        (
            {"api_key": "s3cret", "log_level": "debug"},
            (
                "llama_server_log_level: expected info, or a second key in llama_server_api_keys, found debug "
                "with only one key"
            ),
        ),
        (
            {"tls_certificate": "/s3cret.pem"},
            "llama_server_tls_key: expected both of them, or neither, found nothing beside llama_server_tls_cert",
        ),
        (
            {"tls_key": "/s3cret.pem"},
            "_tls_certificate: expected both of them, or neither, found nothing beside llama_server_tls_key",
        ),
    ],
)
def test_what_cannot_be_a_key_is_told_without_it(changes: dict[str, typing.Any], sentence: str) -> None:
    found = server_options.option_problems(dataclasses.replace(WANTED, **changes))
    assert len(found) == 1, found
    assert sentence in str(found[0])
    assert "s3cr" not in str(found[0])


def test_debug_with_two_keys_logs_none() -> None:
    assert server_options.option_problems(dataclasses.replace(WANTED, api_keys=("a", "b"), log_level="debug")) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "fd00::1", "gpu-1.example"])
def test_other_hosts_need_a_key_or_an_open_door(host: str) -> None:
    options = dataclasses.replace(WANTED, host=host)
    (problem,) = server_options.option_problems(options)
    assert problem.subject == "llama_server_host"
    for way in ("llama_server_api_key", "llama_server_allow_unauthenticated: true"):
        assert way in str(problem)
    for changes in ({"api_key": "k"}, {"api_keys": ("k",)}, {"allow_unauthenticated": True}):
        assert server_options.option_problems(dataclasses.replace(options, **changes)) == []


def test_a_certificate_admits_every_client() -> None:
    certificate = {"tls_certificate": "/c", "tls_key": "/k"}
    (problem,) = server_options.option_problems(dataclasses.replace(WANTED, host="0.0.0.0", **certificate))
    assert "0.0.0.0 with TLS, which admits every client, and no key" in str(problem)
    assert server_options.option_problems(dataclasses.replace(WANTED, host="0.0.0.0", api_key="k", **certificate)) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_host_needs_neither(host: str) -> None:
    assert server_options.option_problems(dataclasses.replace(WANTED, host=host)) == []
