# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Test signatures with the real ssh-keygen."""

from __future__ import annotations

import base64
import re
import typing

import pytest

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result, run
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import signature as release_signature
from ansible_collections.llama_fleet.core.tests.unit.fakes.packed import make_key
from ansible_collections.llama_fleet.core.tests.unit.fakes.runner import FakeRunner

if typing.TYPE_CHECKING:
    import pathlib

SUBJECT = "llama_cpp_cache"
# Signatures truncated before and inside the key.
_BYTES = b"SSHSIG" + b"\0\0\0\1" + b"\0\0\0\x33" + b"\0\0\0\x0bssh-ed25519" + b"\0\0\0 "
CUT = [
    f"-----BEGIN SSH SIGNATURE-----\n{base64.b64encode(data).decode()}\n-----END SSH SIGNATURE-----\n"
    for data in (_BYTES[:6], _BYTES)
]


class Keys(typing.NamedTuple):
    """The public halves of the test's key pairs."""

    folder: pathlib.Path
    builder: str
    other: str


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    return Keys(folder, make_key(folder / "builder"), make_key(folder / "other"))


@pytest.fixture
def archive(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "it's a b77.tar.gz"
    path.write_bytes(b"archive" * 1000)
    return path


def signed(archive: pathlib.Path, key: pathlib.Path) -> pathlib.Path:
    release_signature.sign(archive, key, run)
    return archive.with_name(f"{archive.name}.sig")


def test_a_signature_names_its_signer(archive: pathlib.Path, keys: Keys) -> None:
    signature = signed(archive, keys.folder / "builder")
    assert release_signature.verify(archive, signature, [keys.other, keys.builder], run, SUBJECT) == "the builder"
    assert signature.stat().st_mode & 0o777 == 0o644


def test_a_signer_without_a_name_is_named_by_the_fingerprint(archive: pathlib.Path, keys: Keys) -> None:
    signature = signed(archive, keys.folder / "builder")
    listed = run(["ssh-keygen", "-l", "-f", str(keys.folder / "builder.pub")]).stdout
    name = release_signature.verify(archive, signature, [" ".join(keys.builder.split()[:2])], run, SUBJECT)
    assert name == listed.split()[1]


def test_a_signature_is_replaced_without_a_question(archive: pathlib.Path, keys: Keys) -> None:
    signature = signed(archive, keys.folder / "builder")
    signed(archive, keys.folder / "other")
    assert release_signature.verify(archive, signature, [keys.other], run, SUBJECT) == "the other"


def test_changed_bytes(archive: pathlib.Path, keys: Keys) -> None:
    signature = signed(archive, keys.folder / "builder")
    archive.write_bytes(b"Archive" + archive.read_bytes()[7:])
    with pytest.raises(
        ProblemError,
        match=(
            "^llama_cpp_cache: expected .*, found .*b77.tar.gz, whose signature by the builder is "
            r"invalid \('.*incorrect signature'\)"
        ),
    ):
        release_signature.verify(archive, signature, [keys.builder], run, SUBJECT)


def test_somebody_else(archive: pathlib.Path, keys: Keys) -> None:
    signature = signed(archive, keys.folder / "other")
    with pytest.raises(
        ProblemError,
        match=r"^llama_cpp_cache: expected .*, found .*b77.tar.gz.sig, which is by ssh-ed25519 SHA256:\S+\.",
    ) as raised:
        release_signature.verify(archive, signature, [keys.builder], run, SUBJECT)
    assert keys.other.split()[1] not in str(raised.value)


@pytest.mark.parametrize(
    ("validity", "reason"),
    [
        ('valid-before="20200101"', "key has expired"),
        ('valid-after="20990101"', "key is not yet valid"),
        ('valid-after="20200101",valid-before="20990101"', ""),
    ],
)
def test_a_key_counts_in_its_time_only(archive: pathlib.Path, keys: Keys, validity: str, reason: str) -> None:
    signature = signed(archive, keys.folder / "builder")
    if not reason:
        assert (
            release_signature.verify(archive, signature, [f"{validity} {keys.builder}"], run, SUBJECT) == "the builder"
        )
        return
    with pytest.raises(ProblemError, match=rf"is invalid \('{reason}"):
        release_signature.verify(archive, signature, [f"{validity} {keys.builder}"], run, SUBJECT)


def test_a_signature_for_something_else(archive: pathlib.Path, keys: Keys) -> None:
    assert run(["ssh-keygen", "-Y", "sign", "-f", str(keys.folder / "builder"), "-n", "file", str(archive)]).ok
    with pytest.raises(ProblemError, match="namespace does not match"):
        release_signature.verify(archive, archive.with_name(f"{archive.name}.sig"), [keys.builder], run, SUBJECT)


@pytest.mark.parametrize("text", [None, "", "<html></html>", *CUT])
def test_no_signature(archive: pathlib.Path, keys: Keys, text: str | None) -> None:
    signature = archive.with_name("sig")
    if text is not None:
        signature.write_text(text, encoding="utf-8")
    with pytest.raises(
        ProblemError, match=r"^llama_cpp_cache: expected .*, found sig, which is missing or not an SSH signature\."
    ):
        release_signature.verify(archive, signature, [keys.builder], run, SUBJECT)


class Bare(FakeRunner):
    """A host with nothing but a shell."""

    def answer(self, command: list[str]) -> Result:
        # Nothing can lie below a device.
        nowhere = "/dev/null"
        return run(["/bin/sh" if command[0] == "sh" else f"{nowhere}/{command[0]}", *command[1:]], {"PATH": nowhere})


def test_no_bytes_are_trusted_without_ssh_keygen(archive: pathlib.Path, keys: Keys) -> None:
    signature = signed(archive, keys.folder / "builder")
    bare = Bare()
    for call in (
        lambda: release_signature.verify(archive, signature, [keys.builder], bare, SUBJECT),
        lambda: release_signature.sign(archive, keys.folder / "builder", bare),
    ):
        with pytest.raises(
            ProblemError,
            match=(
                "^ssh-keygen: expected .*, found no such program on the host. Fix: Install openssh-client "
                r"or openssh-clients\.$"
            ),
        ):
            call()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA name",
        "ssh-ed25519 nonsense!",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "{key}\nsigner {key}",
        "cert-authority {key}",
        'valid-before="tomorrow" {key}',
        'namespaces="file" {key}',
        "ssh-rsa {blob} name",
        "name {key}",
    ],
)
def test_lines_that_are_no_public_keys(archive: pathlib.Path, keys: Keys, line: str) -> None:
    wrong = line.format(key=keys.builder, blob=keys.builder.split()[1])
    assert [problem.subject for problem in release_signature.signer_problems([keys.other, wrong])] == [
        "llama_cpp_trusted_signers"
    ]
    with pytest.raises(ProblemError, match=r"^llama_cpp_trusted_signers: expected .+, found"):
        release_signature.verify(archive, signed(archive, keys.folder / "builder"), [keys.builder, wrong], run, SUBJECT)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_the_public_half_of_a_private_key(tmp_path: pathlib.Path, archive: pathlib.Path, kind: str) -> None:
    public = make_key(tmp_path / "key", kind)
    assert release_signature.public_key(tmp_path / "key") == " ".join(public.split()[:2])
    signature = signed(archive, tmp_path / "key")
    assert release_signature.signed_by(signature) == " ".join(public.split()[:2])
    assert release_signature.signer_problems([public]) == []
    assert release_signature.verify(archive, signature, [public], run, SUBJECT) == "the key"


def test_a_key_with_a_passphrase_tells_its_public_half_but_does_not_sign(
    tmp_path: pathlib.Path, archive: pathlib.Path
) -> None:
    public = make_key(tmp_path / "key", passphrase="hidden")
    assert release_signature.public_key(tmp_path / "key") == " ".join(public.split()[:2])
    with pytest.raises(
        ProblemError,
        match=(
            "^llama_cpp_signing_key: expected .*, found .*/key, with which ssh-keygen cannot sign "
            r"\('Load key .*incorrect passphrase"
        ),
    ):
        release_signature.sign(archive, tmp_path / "key", run)


def test_keys_that_cannot_sign(tmp_path: pathlib.Path, archive: pathlib.Path, keys: Keys) -> None:
    text = (keys.folder / "builder").read_text(encoding="utf-8")
    opened, garbage = tmp_path / "open", tmp_path / "garbage"
    opened.write_text(text, encoding="utf-8")
    opened.chmod(0o644)
    garbage.write_text("garbage", encoding="utf-8")
    said = []
    for key in (opened, garbage, tmp_path / "none"):
        with pytest.raises(
            ProblemError,
            match=(
                f"^llama_cpp_signing_key: expected .*, found {re.escape(str(key))}, with which ssh-keygen cannot sign"
            ),
        ) as raised:
            release_signature.sign(archive, key, run)
        said.append(str(raised.value))
    assert "('Permissions 0644 for" in said[0]
    secrets = text.splitlines()[1:-1]
    assert [secret for secret in secrets if any(secret in line for line in said)] == []
    assert release_signature.public_key(garbage) == ""
    with pytest.raises(
        ProblemError, match=r"^llama_cpp_signing_key: expected .*, found .*/none, which cannot be read \(No such file"
    ):
        release_signature.public_key(tmp_path / "none")


def test_what_ends_without_a_signature_has_not_signed(archive: pathlib.Path, keys: Keys) -> None:
    with pytest.raises(ProblemError, match="cannot sign"):
        release_signature.sign(archive, keys.folder / "builder", FakeRunner())


def test_nothing_asks_for_a_passphrase(archive: pathlib.Path, keys: Keys) -> None:
    runner = FakeRunner()
    with pytest.raises(ProblemError):
        release_signature.sign(archive, keys.folder / "builder", runner)
    assert runner.settings[0]["timeout"]
