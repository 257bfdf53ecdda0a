# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Make and check detached signatures of packed releases with OpenSSH's ssh-keygen."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import pathlib
import re
import struct
import tempfile
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError, raise_if_any

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result, Runner

SUFFIX = ".sig"
NAMESPACE = "llama-fleet"
_KEY = "llama_cpp_signing_key"
_TRUSTED = "llama_cpp_trusted_signers"
_VALIDITY = r'valid-(?:after|before)="\d{8}(?:\d{4}(?:\d{2})?)?Z?"'
_SIGNER = re.compile(
    rf"(?:(?P<options>{_VALIDITY}(?:,{_VALIDITY})*)\s+)?(?P<type>[a-z0-9@.-]+)\s+"
    r"(?P<key>[A-Za-z0-9+/]+={0,2})(?:\s+(?P<name>\S.*))?"
)
_ARMOUR = re.compile(
    r"-----BEGIN (?P<kind>SSH SIGNATURE|OPENSSH PRIVATE KEY)-----(?P<body>[A-Za-z0-9+/=\s]+)-----END (?P=kind)-----\s*"
)
# Bytes before the public key: a version, or the names of the cipher of the private half.
_SIGNATURE_MAGIC, _PRIVATE_MAGIC = b"SSHSIG", b"openssh-key-v1\0"
_LONGEST = 1 << 16
_MISSING = Problem(
    "ssh-keygen",
    "no such program on the host",
    "OpenSSH's ssh-keygen, which signs and verifies releases",
    "install openssh-client or openssh-clients",
)


@dataclasses.dataclass(frozen=True)
class _Signer:
    options: str
    key: str
    name: str


def signer_problems(trusted_signers: typing.Iterable[str]) -> list[Problem]:
    """Return a problem for each line that is not a public key, optionally preceded by its validity."""
    wanted = "the line of a .pub file, such as 'ssh-ed25519 AAAA… name', optionally after 'valid-before=\"20301231\"'"
    return [Problem(_TRUSTED, f"'{line[:40]}'", wanted) for line in trusted_signers if _parse(line) is None]


def require_ssh_keygen(run: Runner) -> None:
    """Raise ProblemError if ssh-keygen is missing."""
    if not run(["sh", "-c", "command -v ssh-keygen"], timeout=60).ok:
        raise ProblemError(_MISSING)


def sign(file: pathlib.Path, key: pathlib.Path, run: Runner) -> None:
    """Write ``<file>.sig`` without prompting for a passphrase. Raises ProblemError."""
    signature = file.with_name(f"{file.name}{SUFFIX}")
    signature.unlink(missing_ok=True)  # ssh-keygen would prompt before overwriting it
    # With a time limit the command has no terminal to read a passphrase from.
    done = run(["ssh-keygen", "-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(file)], timeout=600)
    if done.code == 127:
        raise ProblemError(_MISSING)
    if not done.ok or not signature.exists():
        wanted = "an SSH private key without a passphrase, readable by its owner only"
        raise ProblemError(Problem(_KEY, f"{key}, with which ssh-keygen cannot sign ('{_reason(done)}')", wanted))
    signature.chmod(0o644)


def verify(
    file: pathlib.Path,
    signature: pathlib.Path,
    trusted_signers: typing.Sequence[str],
    run: Runner,
    subject: str,
    label: str = "",
) -> str:
    """Return the name of the trusted signer of ``file``, which messages call ``label``.

    Raises ProblemError unless the signature is by one of ``trusted_signers`` and fits the file.
    """
    signers = matching(signature, trusted_signers, subject)
    name = signers[0].name or _fingerprint(signers[0].key)
    with tempfile.TemporaryDirectory(prefix="llama-fleet-") as folder:
        allowed = pathlib.Path(folder) / "allowed_signers"
        allowed.write_text("".join(f"signer {_options(signer)} {signer.key}\n" for signer in signers), encoding="utf-8")
        check = 'exec ssh-keygen -Y verify -f "$1" -I signer -n "$2" -s "$3" < "$4"'
        done = run(["sh", "-c", check, "sh", str(allowed), NAMESPACE, str(signature), str(file)], timeout=600)
    if done.code == 127:
        raise ProblemError(_MISSING)
    if not done.ok:
        invalid = f"{label or file.name}, whose signature by {name} is invalid ('{_reason(done)}')"
        fix = f"do not trust this release; pack it again or correct {_TRUSTED}"
        raise ProblemError(Problem(subject, invalid, "a valid signature of these bytes", fix))
    return name


def matching(signature: pathlib.Path, trusted_signers: typing.Sequence[str], subject: str) -> list[_Signer]:
    """Return the trusted signers whose key ``signature`` claims, which proves nothing yet.

    Raises ProblemError if there is none.
    """
    raise_if_any(signer_problems(trusted_signers))
    key = signed_by(signature)
    if not key:
        signed = f"{signature.name}, which is missing or not an SSH signature"
        raise ProblemError(
            Problem(subject, signed, f"a release signed by one of {_TRUSTED}", "pack it with llama_cpp_signing_key")
        )
    signers = [signer for signer in map(_parse, trusted_signers) if signer is not None and signer.key == key]
    if not signers:
        signed = f"{signature.name}, which is by {key.split()[0]} {_fingerprint(key)}"
        raise ProblemError(
            Problem(subject, signed, f"a signature by one of {_TRUSTED}", "add that key only if you know its owner")
        )
    return signers


def signed_by(signature: pathlib.Path) -> str:
    """Return the public key (``ssh-ed25519 AAAA…``) that a signature claims; empty if it is not a signature."""
    try:
        text = signature.read_bytes()[:_LONGEST].decode("ascii", "replace")
    except OSError:
        return ""
    return _public_key(text, _SIGNATURE_MAGIC, 0)


def public_key(key: pathlib.Path) -> str:
    """Return the public half of a private key (``ssh-ed25519 AAAA…``); empty if it contains none.

    Raises ProblemError if it cannot be read.
    """
    try:
        text = key.read_bytes()[:_LONGEST].decode("ascii", "replace")
    except OSError as error:
        raise ProblemError(
            Problem(_KEY, f"{key}, which cannot be read ({error.strerror})", "an SSH private key on the host")
        ) from error
    return _public_key(text, _PRIVATE_MAGIC, 3)


def _public_key(text: str, magic: bytes, strings: int) -> str:
    """Return the public key in ``text`` after ``magic``, ``strings`` strings and a number."""
    armour = _ARMOUR.fullmatch(text)
    try:
        data = base64.b64decode(armour["body"] if armour else "")
        if not data.startswith(magic):
            return ""
        at = len(magic)
        for _count in range(strings):
            at += 4 + len(_string(data, at))
        return _line(_string(data, at + 4))
    except (ValueError, binascii.Error, struct.error):
        return ""


def _line(blob: bytes) -> str:
    return f"{_string(blob, 0).decode('ascii')} {base64.b64encode(blob).decode()}"


def _string(data: bytes, at: int) -> bytes:
    (length,) = struct.unpack_from(">I", data, at)
    value = data[at + 4 : at + 4 + length]
    if len(value) < length:
        raise ValueError("truncated")
    return value


def _parse(line: str) -> _Signer | None:
    match = _SIGNER.fullmatch(line.strip())
    try:
        key = _line(base64.b64decode(match["key"], validate=True)) if match else ""
    except (ValueError, binascii.Error, struct.error):
        return None
    if match is None or key != f"{match['type']} {match['key']}":
        return None
    return _Signer(match["options"] or "", key, (match["name"] or "").strip())


def _options(signer: _Signer) -> str:
    return ",".join(filter(None, [f'namespaces="{NAMESPACE}"', signer.options]))


def _fingerprint(key: str) -> str:
    """Return the fingerprint of a key as ssh-keygen -l writes it."""
    digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _reason(done: Result) -> str:
    """Return the complaint of ssh-keygen, without its banner and the name of our temporary file."""
    lines = [
        re.sub(r"^(\S*/allowed_signers:\d+: |Enter passphrase: )+", "", line.strip())
        for line in (done.stderr or done.stdout).splitlines()
    ]
    return next(
        (line for line in lines if line and not line.startswith(("@", "Signing file"))), f"exit code {done.code}"
    )
