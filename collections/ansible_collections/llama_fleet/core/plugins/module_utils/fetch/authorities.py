# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Find the certificate authorities that the host trusts, for every TLS connection of the project.

These are the system's, and all that ``SSL_CERT_FILE``, ``SSL_CERT_DIR``, ``REQUESTS_CA_BUNDLE`` and ``CURL_CA_BUNDLE``
name. As in OpenSSL, the system's are left out if both ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` are set.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
import re
import ssl
import typing

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_OPENSSL = VARIABLES[:2]
# The bundles of Debian, Fedora, SUSE and Alpine, for a Python that was built for another system.
_SYSTEM = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_MOST_FILES = 2000  # of a folder
_LARGEST = 16 << 20  # bytes of a bundle
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_NONE = "no certificate in PEM form"
Environment = typing.Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Store:
    """A file or folder of certificates; ``variable`` names it, or is empty for the system's own."""

    variable: str
    path: str

    def read(self) -> list[bytes]:
        """Return the certificates in PEM form. Raises OSError if there are none."""
        if not os.path.isdir(self.path):
            return _certificates(self.path)
        certificates: list[bytes] = []
        for entry in itertools.islice(sorted(os.listdir(self.path)), _MOST_FILES):
            with contextlib.suppress(OSError):  # a folder, a dead link or another kind of file
                certificates += _certificates(os.path.join(self.path, entry))
        if not certificates:
            raise OSError(None, f"{_NONE} in it", self.path)
        return certificates


def _certificates(path: str) -> list[bytes]:
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(None, "no regular file", path)
    with open(path, "rb") as file:
        certificates = _CERTIFICATE.findall(file.read(_LARGEST))
    if not certificates:
        raise OSError(None, _NONE, path)
    return certificates


def stores(environment: Environment | None = None) -> list[Store]:
    """List the stores that ``environment``, or else this process's own, names, and the system's, which comes first."""
    environment = os.environ if environment is None else environment
    named = [
        Store(variable, path)
        for variable in VARIABLES
        for path in environment.get(variable, "").split(os.pathsep if variable == "SSL_CERT_DIR" else "\0")
        if path
    ]
    if all(environment.get(variable) for variable in _OPENSSL):
        return named
    candidates = (ssl.get_default_verify_paths().openssl_cafile, *_SYSTEM)
    system = [Store("", path) for path in candidates if os.path.isfile(path)]
    return [*system[:1], *named]


def named(environment: Environment | None = None) -> bool:
    """Return whether ``environment``, or else this process's own, names a store."""
    environment = os.environ if environment is None else environment
    return any(environment.get(variable) for variable in VARIABLES)


def context() -> ssl.SSLContext:
    """Return the settings of TLS connections: the host must have a certificate of a trusted authority."""
    return _context(tuple(os.environ.get(variable, "") for variable in VARIABLES))


@functools.lru_cache(maxsize=4)
def _context(environment: tuple[str, ...]) -> ssl.SSLContext:
    made = ssl.create_default_context()
    # As curl and Go, and as Python before 3.13: an intermediate may be trusted, and a site's own authority need not
    # have every field that RFC 5280 asks for.
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if any(environment) or not made.cert_store_stats()["x509_ca"]:
        for certificate in _all(None):
            with contextlib.suppress(ssl.SSLError):
                made.load_verify_locations(cadata=certificate.decode())
    return made


def checked_against(environment: Environment | None = None) -> str:
    """Return ``, checked against …`` for the message of a certificate that is not trusted."""
    parts = []
    for store in stores(environment):
        trouble = ""
        try:
            store.read()
        except OSError as error:
            trouble = f" ({error.strerror})"
        parts.append(f"{store.variable}={store.path}{trouble}" if store.variable else "the system's authorities")
    return f", checked against {' and '.join(parts) or 'no authority at all'}"


def bundle(environment: Environment | None = None) -> bytes:
    """Return all stores that can be read as one file in PEM form."""
    return b"".join(b"%s\n" % certificate for certificate in _all(environment))


def _all(environment: Environment | None) -> list[bytes]:
    certificates: dict[bytes, None] = {}
    for store in stores(environment):
        with contextlib.suppress(OSError):  # ``checked_against`` names it if a certificate is not trusted
            certificates.update(dict.fromkeys(store.read()))
    return list(certificates)
