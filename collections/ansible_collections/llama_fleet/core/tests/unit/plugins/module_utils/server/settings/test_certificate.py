# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses
import datetime as dt
import typing

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import certificate as server_certificate
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import secrets as server_secrets
from ansible_collections.llama_fleet.core.tests.unit.fakes.server_options import WANTED

if typing.TYPE_CHECKING:
    import pathlib

BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
END = dt.datetime(2027, 1, 1, tzinfo=dt.timezone.utc)
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.timezone.utc).timestamp()


class Pair(typing.NamedTuple):
    certificate: bytes
    key: bytes
    locked: bytes


def make(end: dt.datetime = END) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gpu-1.example")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(2**100)
    )
    signed = builder.not_valid_before(BEGIN).not_valid_after(end).sign(key, hashes.SHA256())

    def pem(encryption: serialization.KeySerializationEncryption) -> bytes:
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)

    locked = pem(serialization.BestAvailableEncryption(b"s3cret"))
    return Pair(signed.public_bytes(serialization.Encoding.PEM), pem(serialization.NoEncryption()), locked)


@pytest.fixture(scope="module")
def pair() -> Pair:
    return make()


def told(folder: pathlib.Path, certificate: bytes | None, key: bytes | None, now: float = NOW) -> list[str]:
    paths = [folder / "c.pem", folder / "k.pem"]
    for path, content in zip(paths, (certificate, key)):
        if content is not None:
            path.write_bytes(content)
    options = dataclasses.replace(WANTED, tls_certificate=str(paths[0]), tls_key=str(paths[1]))
    return [str(problem) for problem in server_secrets.tls_problems(options, now)]


def test_a_certificate_and_its_key_will_do(tmp_path: pathlib.Path, pair: Pair) -> None:
    assert told(tmp_path, b"Subject: gpu-1.example\n" + pair.certificate + make().certificate, pair.key) == []
    assert server_secrets.tls_problems(WANTED, NOW) == []


def test_files_that_are_missing_are_told_at_once(tmp_path: pathlib.Path) -> None:
    first, second = told(tmp_path, None, None)
    assert first == (
        f"llama_server_tls_certificate: expected a readable file, found {tmp_path}/c.pem: No such file or directory."
    )
    assert "llama_server_tls_key" in second


def test_what_is_no_pem_is_told_at_once(tmp_path: pathlib.Path, pair: Pair) -> None:
    assert [sentence.partition(":")[0] for sentence in told(tmp_path, pair.key, pair.certificate)] == [
        "llama_server_tls_certificate",
        "llama_server_tls_key",
    ]
    assert "which holds no certificate in PEM" in told(tmp_path, b"\x30\x82\x01\xff", pair.key)[0]


def test_a_key_of_another_certificate(tmp_path: pathlib.Path, pair: Pair) -> None:
    (sentence,) = told(tmp_path, pair.certificate, make().key)
    assert (
        "llama_server_tls_key: expected the key that the certificate was made for, found "
        f"{tmp_path}/k.pem, which is not the key of {tmp_path}/c.pem"
    ) in sentence


def test_a_key_with_a_password_prompts_for_nothing(tmp_path: pathlib.Path, pair: Pair) -> None:
    (sentence,) = told(tmp_path, pair.certificate, pair.locked)
    assert "which is encrypted" in sentence


def test_broken_pem_is_a_sentence(tmp_path: pathlib.Path, pair: Pair) -> None:
    broken = pair.certificate.replace(b"\nM", b"\nAAAA", 1)
    (sentence,) = told(tmp_path, broken, pair.key)
    assert "which OpenSSL rejects" in sentence


@pytest.mark.parametrize("end", [END, dt.datetime(2051, 1, 1, tzinfo=dt.timezone.utc)])
def test_when_a_certificate_is_valid(tmp_path: pathlib.Path, end: dt.datetime) -> None:
    """Check dates from 2050 on, which have another ASN.1 type."""
    made = make(end)
    for now, right in (
        (BEGIN.timestamp() - 1, False),
        (BEGIN.timestamp(), True),
        (end.timestamp(), True),
        (end.timestamp() + 1, False),
    ):
        found = told(tmp_path, made.certificate, made.key, now)
        assert (found == []) is right
        assert right or f"which is valid from 2026-01-01 to {end:%Y-%m-%d}" in found[0]


def test_what_is_no_certificate_has_no_dates() -> None:
    for content in (b"", b"\x30", b"\x30\x03\x02\x01\x01", b"\x30\x84"):
        with pytest.raises((ValueError, IndexError)):
            server_certificate.validity(content)
