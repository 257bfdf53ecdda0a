# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The Hub through its own client: revisions, listings, checksums and URLs; every error as one sentence."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import OriginError
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import (
    COMMIT,
    SHA256,
    Inside,
    Many,
    Maybe,
    Number,
    Record,
    ShapeError,
    Text,
    check,
    parse,
    printable,
)

DEFAULT_ENDPOINT = "https://huggingface.co"

_TOO_MANY = 429
_TIMEOUT = 30.0  # the client itself has none
_MOST_FILES = 100_000
_GGUF = ".gguf"
# What becomes a path, a URL or a reserved space: of any other file of a repository only the name is looked at.
_SIZE = Number(most=1 << 50)
_MODEL_FILE = Record({"path": Inside(), "size": _SIZE}, {"sha256": Maybe(Text(f"(?:{SHA256})?"), "")})
_STATED = Record({"size": Maybe(_SIZE, 0), "etag": Maybe(Text(most=1024), "")})
# The Hub's own answer, for those that ask without its client.
_ENTRIES = Many(Record({"type": Text(), "path": Text(most=1 << 16)}, {"size": Maybe(_SIZE, 0)}), most=_MOST_FILES)
_WANTED = "a server that speaks the Hub's protocol"
# What the client's code does where JSON has another shape than it expects.
_MISREAD = (TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, RecursionError)
# The client hands on what its HTTP library raises, and that library differs by version.
_TRANSPORTS = {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "ssl", "socket"}


@dataclasses.dataclass(frozen=True)
class HubFile:
    """A file of a repository at one commit. ``sha256`` is empty where the Hub states none."""

    path: str
    size: int
    sha256: str


def endpoint_url(given: str) -> str:
    """The Hub's address: the one given, else the host's own setting, else the public one."""
    return (given or os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


class Hub:
    """What is asked of a Hub. ``client`` is the module huggingface_hub, imported by the caller."""

    def __init__(self, client: typing.Any, endpoint: str, token: str) -> None:
        self._client = client
        self._endpoint = endpoint
        self._token = token
        # False, because None would take a token that somebody once stored on the host.
        self._secret: str | bool = token or False
        self._api = client.HfApi(endpoint=endpoint, token=self._secret)

    def commit(self, repo: str, revision: str) -> str:
        """The commit that a branch, tag or commit names now."""
        with self._problems(repo, revision):
            info = self._api.model_info(repo, revision=revision, timeout=_TIMEOUT)
            return str(check(info.sha, Text(COMMIT), f"the commit of '{revision}'"))

    def tree(self, repo: str, commit: str) -> list[HubFile]:
        """Return the GGUF files at ``commit``.

        Raises where one of them has a name, a size or a sha256 that cannot be.
        """
        with self._problems(repo, commit):
            entries = list(
                itertools.islice(self._api.list_repo_tree(repo, recursive=True, revision=commit), _MOST_FILES + 1)
            )
            if len(entries) > _MOST_FILES:
                raise ShapeError(f"the listing has more than {_MOST_FILES} entries")
            return [
                _checked(entry.path, entry.size, entry.lfs.sha256 if entry.lfs else "")
                for entry in entries
                if hasattr(entry, "blob_id") and _is_model(entry.path)
            ]

    def stated(self, repo: str, commit: str, path: str) -> HubFile:
        """What the Hub says of one file where it hands it out; raises where this user may not have it."""
        with self._problems(repo, commit):
            metadata = self._client.get_hf_file_metadata(
                self.url(repo, commit, path), token=self._secret, timeout=_TIMEOUT
            )
            told = check({"size": metadata.size, "etag": metadata.etag}, _STATED, f"what is stated of {path}")
        return HubFile(path, told["size"], told["etag"] if re.fullmatch(SHA256, told["etag"]) else "")

    def url(self, repo: str, commit: str, path: str) -> str:
        return str(self._client.hf_hub_url(repo, path, revision=commit, endpoint=self._endpoint))

    @contextlib.contextmanager
    def _problems(self, repo: str, revision: str) -> typing.Iterator[None]:
        try:
            yield
        except Exception as error:
            problem = self._problem(error, repo, revision)
            if problem is None:
                raise
            # Not "from error": its text holds request headers in some versions.
            raise ProblemError(problem) from None

    def _problem(self, error: Exception, repo: str, revision: str) -> Problem | None:
        """``error`` of the client in our words; None where it is not one of the Hub's or the network's."""
        if isinstance(error, ShapeError):
            return Problem(
                "gguf_model_endpoint",
                f"an answer of {self._endpoint} for '{repo}' that no Hub gives ({error})",
                _WANTED,
                "do not trust this server",
            )
        if isinstance(error, OriginError):
            return self._broken(error, repo)
        status = getattr(getattr(error, "response", None), "status_code", 0)
        if self._token and status in (401, 403) and self._token_is_bad():
            fix = "make a new one, or leave it out for public repositories"
            return Problem(
                "gguf_model_token", f"a token that {self._endpoint} does not accept", "a valid access token", fix
            )
        return self._told(error, repo, revision) or self._not_told(error, status, repo)

    def _broken(self, error: OriginError, repo: str) -> Problem:
        """What the transport gave up, with the bound that ended its tries."""
        if error.status == _TOO_MANY:
            fix = "wait five minutes; a token has a limit of its own"
            return Problem(
                "gguf_model_endpoint",
                f"too many requests to {self._endpoint} from this address{error.limit}",
                "fewer",
                fix,
            )
        text = str(error)
        silent = text.startswith("no answer")
        found = (
            f"no answer of a Hub from {self._endpoint}{text[len('no answer') :]}"
            if silent
            else f"{text} from {self._endpoint} for '{repo}'"
        )
        found += error.limit
        return Problem(
            "gguf_model_endpoint",
            found,
            "a Hub that this host reaches",
            "check the address, the network and any proxy of the host",
        )

    def _told(self, error: Exception, repo: str, revision: str) -> Problem | None:
        """What the client has a class of its own for."""
        errors = self._client.errors
        where = f"on {self._endpoint}"
        if isinstance(error, errors.GatedRepoError):
            return self._gated(repo)
        if isinstance(error, errors.RepositoryNotFoundError):
            fix = (
                "check the name, and that the token may read it if it is private"
                if self._token
                else "check the name; a private one needs gguf_model_token"
            )
            return Problem(
                "gguf_model_source", f"'{repo}', which is not {where}", "a repository that this host may read", fix
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return Problem(
                "gguf_model_revision",
                f"'{revision}', which '{repo}' {where} does not have",
                "a branch, tag or commit of it",
            )
        if isinstance(error, errors.EntryNotFoundError):
            return Problem(
                "gguf_model_source",
                f"a file listed in '{repo}' that {self._endpoint} does not hand out",
                "a complete repository",
            )
        if isinstance(error, errors.HFValidationError):
            return Problem("gguf_model_source", f"'{repo}'", "'owner/repo' as the Hub spells it")
        if isinstance(error, errors.OfflineModeIsEnabled):
            return Problem(
                "HF_HUB_OFFLINE",
                "the Hub's client switched off in the environment of the host",
                "it switched on",
                "unset HF_HUB_OFFLINE there",
            )
        return None

    def _not_told(self, error: Exception, status: int, repo: str) -> Problem | None:
        """Any other answer, and none at all."""
        if status == 429:
            fix = "wait five minutes; a token has a limit of its own"
            return Problem(
                "gguf_model_endpoint", f"too many requests to {self._endpoint} from this address", "fewer", fix
            )
        if status:
            return Problem(
                "gguf_model_endpoint", f"HTTP status {status} from {self._endpoint} for '{repo}'", "a Hub that answers"
            )
        if isinstance(error, ValueError) or _is_transport(error):
            found = f"no answer of a Hub from {self._endpoint} ({type(error).__name__}: {error})".splitlines()[0]
            wanted = "one that this host reaches"
            return Problem(
                "gguf_model_endpoint",
                printable(found),
                wanted,
                "check the address, the network and any proxy of the host",
            )
        if isinstance(error, _MISREAD):
            found = f"an answer of {self._endpoint} for '{repo}' that its client cannot read ({type(error).__name__})"
            return Problem("gguf_model_endpoint", found, _WANTED, "check the address")
        return None

    def _gated(self, repo: str) -> Problem:
        if not self._token:
            return Problem(
                "gguf_model_token",
                f"none, and '{repo}' is gated",
                "the token of an account that was granted access",
                f"accept its terms on {self._endpoint}/{repo} and set gguf_model_token",
            )
        return Problem(
            "gguf_model_token",
            f"a token of an account without access to '{repo}', which is gated",
            "one of an account that was granted access",
            f"ask for access on {self._endpoint}/{repo}",
        )

    def _token_is_bad(self) -> bool:
        """Ask apart: for a bad token the Hub answers as for a repository that is not there."""
        try:
            self._api.whoami(token=self._token)
        except Exception as error:
            if (
                getattr(getattr(error, "response", None), "status_code", 0) == 401
                or type(error).__name__ == "LocalTokenNotFoundError"
            ):
                return True
            if not isinstance(error, OriginError) and not _is_transport(error):
                raise
        return False


def _is_model(path: object) -> bool:
    """Tell whether a name is a GGUF file's; one that is no text at all is looked at more closely."""
    return not isinstance(path, str) or path.lower().endswith(_GGUF)


def _checked(path: object, size: object, sha256: object) -> HubFile:
    told = check({"path": path, "size": size, "sha256": sha256}, _MODEL_FILE, "an entry")
    return HubFile(told["path"], told["size"], told["sha256"])


def listing(text: bytes, limit: int) -> tuple[list[HubFile], int]:
    """Return the GGUF files in the Hub's own listing of a repository, which tells no sums, and the number of all
    its entries. Raises ShapeError.
    """
    entries = parse(text, _ENTRIES, "the listing", limit)
    return [
        _checked(each["path"], each.get("size", 0), "")
        for each in entries
        if each["type"] == "file" and _is_model(each["path"])
    ], len(entries)


def _is_transport(error: Exception) -> bool:
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _TRANSPORTS


def require_token(token: str) -> str:
    """``token`` without the space around it; raises where it cannot stand in a header, without telling it."""
    cleaned = token.strip()
    if cleaned and not re.fullmatch(r"[\x21-\x7e]+", cleaned):
        found = "characters that no token has, such as a space or a line break"
        raise ProblemError(Problem("gguf_model_token", found, "an access token as the Hub shows it"))
    return cleaned
