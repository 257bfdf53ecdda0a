# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Whether a certificate and a key can serve: PEM files that belong together, now."""

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


def problems(certificate: pathlib.Path, key: pathlib.Path, now: float) -> list[Problem]:
    """Everything wrong with the two files at ``now``, in seconds of the epoch. What the key holds is not said."""
    texts, found = {}, []
    for variable, path in ((CERTIFICATE, certificate), (KEY, key)):
        text = _text(path)
        if isinstance(text, OSError):
            found.append(Problem(variable, f"{path}: {text.strerror}", "a file that can be read"))
        else:
            texts[variable] = text
    pem = _CERTIFICATE.search(texts.get(CERTIFICATE, ""))
    if CERTIFICATE in texts and pem is None:
        found.append(
            Problem(
                CERTIFICATE,
                f"{certificate}, which holds no certificate in PEM",
                "a PEM file of the certificate and those that lead up to it",
            )
        )
    if KEY in texts and not _KEY.search(texts[KEY]):
        found.append(
            Problem(KEY, f"{key}, which holds no private key in PEM", "a PEM file of the certificate's private key")
        )
    if pem is None or found:
        return found
    return [*_chain(certificate, key), *_dates(certificate, pem.group(), now)]


def _text(path: pathlib.Path) -> str | OSError:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        return error


def _chain(certificate: pathlib.Path, key: pathlib.Path) -> list[Problem]:
    asked = []

    def password() -> str:
        # Asked for only if the key needs one; without this OpenSSL would ask at the terminal.
        asked.append(True)
        return ""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password)
    except (ssl.SSLError, ValueError) as error:
        if asked:
            return [
                Problem(KEY, f"{key}, which is encrypted", "a key without a password, for the server can ask nobody")
            ]
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            return [
                Problem(
                    KEY, f"{key}, which is not the key of {certificate}", "the key that the certificate was made for"
                )
            ]
        said = getattr(error, "reason", "") or type(error).__name__
        return [
            Problem(
                CERTIFICATE,
                f"{certificate} and {key}, of which OpenSSL says {said}",
                "a certificate and a key that OpenSSL reads",
            )
        ]
    return []


def _dates(certificate: pathlib.Path, pem: str, now: float) -> list[Problem]:
    try:
        begin, end = validity(ssl.PEM_cert_to_DER_cert(pem))
    except (ValueError, IndexError):
        return []
    if not begin <= now <= end:
        when = f"is valid from {_day(begin)} to {_day(end)}"
        return [
            Problem(
                CERTIFICATE,
                f"{certificate}, which {when}",
                f"one that is valid now, {_day(now)}",
                "renew it, or set the host's clock",
            )
        ]
    return []


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def validity(der: bytes) -> tuple[float, float]:
    """From when to when a certificate is valid, in seconds of the epoch; ValueError or IndexError where it is none."""
    fields = _parts(_parts(_parts(der)[0][1])[0][1])
    without_version = fields[1:] if fields[0][0] == _EXPLICIT_VERSION else fields
    # Serial number, algorithm, issuer, validity.
    begin, end = _parts(without_version[3][1])
    return _time(*begin), _time(*end)


def _parts(data: bytes) -> list[tuple[int, bytes]]:
    """Tags and contents of what DER strings together."""
    found, place = [], 0
    while place < len(data):
        tag, length, place = data[place], data[place + 1], place + 2
        if length & 0x80:
            count = length & 0x7F
            length, place = int.from_bytes(data[place : place + count], "big"), place + count
        found.append((tag, data[place : place + length]))
        place += length
    return found


def _time(tag: int, content: bytes) -> float:
    text = content.decode("ascii")
    return calendar.timegm(time.strptime(text, "%y%m%d%H%M%SZ" if tag == _UTC_TIME else "%Y%m%d%H%M%SZ"))
