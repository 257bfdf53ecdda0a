# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Check that a certificate and a key in PEM files are readable, belong together, and are valid now."""

from __future__ import annotations

import calendar
import re
import ssl
import time
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem

if typing.TYPE_CHECKING:
    import pathlib

CERTIFICATE = "llama_server_tls_certificate"
KEY = "llama_server_tls_key"
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(r"-----BEGIN ([A-Z]+ )*PRIVATE KEY-----")
_UTC_TIME = 0x17
_EXPLICIT_VERSION = 0xA0


def certificate_problems(certificate: pathlib.Path, key: pathlib.Path, now: float) -> list[Problem]:
    """Return the problems of the two files at ``now`` (epoch seconds). No message contains the key's content."""
    texts, problems = {}, []
    for variable, path in ((CERTIFICATE, certificate), (KEY, key)):
        text = _text(path)
        if isinstance(text, OSError):
            problems.append(Problem(variable, f"{path}: {text.strerror}", "a readable file"))
        else:
            texts[variable] = text
    pem = _CERTIFICATE.search(texts.get(CERTIFICATE, ""))
    if CERTIFICATE in texts and pem is None:
        wanted = "a PEM file of the certificate and its chain"
        problems.append(Problem(CERTIFICATE, f"{certificate}, which holds no certificate in PEM", wanted))
    if KEY in texts and not _KEY.search(texts[KEY]):
        wanted = "a PEM file of the certificate's private key"
        problems.append(Problem(KEY, f"{key}, which holds no private key in PEM", wanted))
    if pem is None or problems:
        return problems
    return [*_chain(certificate, key), *_dates(certificate, pem.group(), now)]


def _text(path: pathlib.Path) -> str | OSError:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        return error


def _chain(certificate: pathlib.Path, key: pathlib.Path) -> list[Problem]:
    """Let OpenSSL load the pair, and explain its error."""
    prompts = []

    def password() -> str:
        # Called only if the key is encrypted; without it OpenSSL would prompt on the terminal.
        prompts.append(True)
        return ""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password)
    except (ssl.SSLError, ValueError) as error:
        if prompts:
            wanted = "a key without a password, because the server cannot prompt for one"
            return [Problem(KEY, f"{key}, which is encrypted", wanted)]
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            mismatch = f"{key}, which is not the key of {certificate}"
            return [Problem(KEY, mismatch, "the key that the certificate was made for")]
        reason = getattr(error, "reason", "") or type(error).__name__
        mismatch = f"{certificate} and {key}, which OpenSSL rejects ({reason})"
        return [Problem(CERTIFICATE, mismatch, "a certificate and a key that OpenSSL reads")]
    return []


def _dates(certificate: pathlib.Path, pem: str, now: float) -> list[Problem]:
    """Return a problem if the certificate is not valid at ``now``; unreadable dates are ignored."""
    try:
        begin, end = validity(ssl.PEM_cert_to_DER_cert(pem))
    except (ValueError, IndexError):
        return []
    if not begin <= now <= end:
        period = f"{certificate}, which is valid from {_day(begin)} to {_day(end)}"
        fix = "renew it, or set the host's clock"
        return [Problem(CERTIFICATE, period, f"one that is valid now, {_day(now)}", fix)]
    return []


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def validity(der: bytes) -> tuple[float, float]:
    """Return a certificate's begin and end in epoch seconds. Raises ValueError or IndexError for invalid DER."""
    fields = _parts(_parts(_parts(der)[0][1])[0][1])
    without_version = fields[1:] if fields[0][0] == _EXPLICIT_VERSION else fields
    # The fields are serial number, algorithm, issuer, validity.
    begin, end = _parts(without_version[3][1])
    return _time(*begin), _time(*end)


def _parts(data: bytes) -> list[tuple[int, bytes]]:
    """Return the tags and contents of consecutive DER elements."""
    elements, place = [], 0
    while place < len(data):
        tag, length, place = data[place], data[place + 1], place + 2
        if length & 0x80:
            count = length & 0x7F
            length, place = int.from_bytes(data[place : place + count], "big"), place + count
        elements.append((tag, data[place : place + length]))
        place += length
    return elements


def _time(tag: int, content: bytes) -> float:
    text = content.decode("ascii")
    return calendar.timegm(time.strptime(text, "%y%m%d%H%M%SZ" if tag == _UTC_TIME else "%Y%m%d%H%M%SZ"))
