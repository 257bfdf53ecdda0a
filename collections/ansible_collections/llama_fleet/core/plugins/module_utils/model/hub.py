# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Ask the Hub through its own client for revisions, listings, checksums and URLs; report each error as one problem."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import failure, remedy
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.download import probe
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.lfs import pointer_sha256
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import OriginError
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.remote import lazily
from ansible_collections.llama_fleet.core.plugins.module_utils.model.hub_transport import is_unknown
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import printable
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import (
    COMMIT,
    SHA256,
    Inside,
    Maybe,
    Number,
    Record,
    ShapeError,
    Text,
    check,
)

DEFAULT_ENDPOINT = "https://huggingface.co"

_TOO_MANY = 429
_TIMEOUT = 30.0  # seconds; the client has no default
_MOST_FILES = 100_000
_MOST_SIBLINGS = 300  # that are asked one by one
_GGUF = ".gguf"
# Only GGUF files are validated, because only their names and sizes become paths, URLs and reserved space.
_SIZE = Number(most=1 << 50)
_MODEL_FILE = Record({"path": Inside(), "size": _SIZE}, {"sha256": Maybe(Text(f"(?:{SHA256})?"), "")})
_STATED = Record({"size": Maybe(_SIZE, 0), "etag": Maybe(Text(most=1024), "")})
_WANTED = "a server that speaks the Hub's protocol"
# Exceptions of the client on JSON of an unexpected shape.
_MISREAD = (TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, RecursionError)
# The client passes on exceptions of its HTTP library, which differs by version.
_TRANSPORTS = {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3", "ssl", "socket"}


@dataclasses.dataclass(frozen=True)
class HubFile:
    """A file of a repository at one commit. ``sha256`` is empty if the Hub states none."""

    path: str
    size: int
    sha256: str


def endpoint_url(given: str) -> str:
    """Return the Hub's address without a trailing slash: the given one, else HF_ENDPOINT, else the public Hub."""
    return (given or os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


class Hub:
    """A Hub and its client. ``client`` is the module huggingface_hub, imported by the caller."""

    def __init__(self, client: typing.Any, endpoint: str, token: str) -> None:
        self._client = client
        self._endpoint = endpoint
        self._token = token
        # False, because with None the client would use a token that someone stored on the host.
        self._secret: str | bool = token or False
        self._api = client.HfApi(endpoint=endpoint, token=self._secret)

    def commit(self, repo: str, revision: str) -> str:
        """Return the commit that a branch, tag or commit names now. Raises ProblemError."""
        with self._problems(repo, revision):
            info = self._api.model_info(repo, revision=revision, timeout=_TIMEOUT)
            return str(check(info.sha, Text(COMMIT), f"the commit of '{revision}'"))

    def tree(self, repo: str, commit: str) -> list[HubFile]:
        """Return the GGUF files at ``commit``.

        Raises ProblemError if one of them has an invalid name, size or sha256.
        """
        with self._problems(repo, commit):
            try:
                entries = list(
                    itertools.islice(self._api.list_repo_tree(repo, recursive=True, revision=commit), _MOST_FILES + 1)
                )
            except Exception as error:
                if not is_unknown(error):
                    raise
                return self._siblings(repo, commit)
            if len(entries) > _MOST_FILES:
                raise ShapeError(f"the listing has more than {_MOST_FILES} entries")
            return [
                _checked(entry.path, entry.size, entry.lfs.sha256 if entry.lfs else "")
                for entry in entries
                if hasattr(entry, "blob_id") and _is_model(entry.path)
            ]

    def _siblings(self, repo: str, commit: str) -> list[HubFile]:
        """Return the same from a cache in front of the Hub that does not know listings, file by file if need be."""
        try:
            info = self._api.model_info(repo, revision=commit, timeout=_TIMEOUT, files_metadata=True)
        except Exception as error:
            if not is_unknown(error):
                raise
            info = self._api.model_info(repo, revision=commit, timeout=_TIMEOUT)
        models = [each for each in info.siblings or () if _is_model(each.rfilename)]
        if sum(not each.size for each in models) > _MOST_SIBLINGS:
            raise ShapeError(f"the listing has more than {_MOST_SIBLINGS} files without a size")
        return [
            _checked(each.rfilename, each.size, each.lfs.sha256 if each.lfs else "")
            if each.size
            else self._measured(repo, commit, str(check(each.rfilename, Inside(), "a file's name")))
            for each in models
        ]

    def _measured(self, repo: str, commit: str, path: str) -> HubFile:
        stated = self.stated(repo, commit, path)
        return stated if stated.size else dataclasses.replace(stated, size=self._probed(repo, commit, path).size)

    def _probed(self, repo: str, commit: str, path: str) -> HubFile:
        remote = probe(self.url(repo, commit, path), "gguf_model_source", "", self._headers)
        return HubFile(path, remote.size, remote.sha256)

    def stated(self, repo: str, commit: str, path: str) -> HubFile:
        """Return what the Hub states about one file. Raises ProblemError, for example if access is denied."""
        try:
            with self._problems(repo, commit):
                metadata = self._client.get_hf_file_metadata(
                    self.url(repo, commit, path), token=self._secret, timeout=_TIMEOUT
                )
                stated = check({"size": metadata.size, "etag": metadata.etag}, _STATED, f"what is stated of {path}")
                file = HubFile(path, stated["size"], stated["etag"] if re.fullmatch(SHA256, stated["etag"]) else "")
        except ProblemError as error:
            if not is_unknown(error.__context__):
                raise
            file = self._probed(repo, commit, path)  # a cache that knows no HEAD
        if file.sha256:
            return file
        # A cache that does not pass on the Hub's headers may have the pointer.
        pointer = self.url(repo, commit, path).replace(f"/{repo}/resolve/", f"/{repo}/raw/", 1)
        return dataclasses.replace(file, sha256=pointer_sha256(pointer, self._headers))

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def url(self, repo: str, commit: str, path: str) -> str:
        return str(self._client.hf_hub_url(repo, path, revision=commit, endpoint=self._endpoint))

    def reader(self, repo: str, commit: str, path: str) -> typing.Callable[[int, int], bytes]:
        """Return a function that reads a file's bytes from one position up to another."""
        return lazily(self.url(repo, commit, path), self._headers, "gguf_model_source")

    @contextlib.contextmanager
    def _problems(self, repo: str, revision: str) -> typing.Iterator[None]:
        try:
            yield
        except Exception as error:
            problem = self._problem(error, repo, revision)
            if problem is None:
                raise
            # Not "from error", because in some versions its text holds request headers.
            raise ProblemError(problem) from None

    def _problem(self, error: Exception, repo: str, revision: str) -> Problem | None:
        """Translate an error of the client; return None if neither the Hub nor the network caused it."""
        if isinstance(error, ShapeError):
            answer = f"an answer of {self._endpoint} for '{repo}' that no Hub gives ({error})"
            return Problem("gguf_model_endpoint", answer, _WANTED, "do not trust this server")
        if isinstance(error, OriginError):
            return self._broken(error, repo)
        status = getattr(getattr(error, "response", None), "status_code", 0)
        if self._token and status in (401, 403) and self._token_is_bad():
            fix = "create a new one, or leave it out for public repositories"
            answer = f"a token that {self._endpoint} does not accept"
            return Problem("gguf_model_token", answer, "a valid access token", fix)
        return self._known_error(error, repo, revision) or self._other_error(error, status, repo)

    def _broken(self, error: OriginError, repo: str) -> Problem:
        """Translate an error of our transport, with the limit that ended its attempts."""
        if error.status == _TOO_MANY:
            return self._too_many(error.limit)
        reason = f"{failure(self._endpoint, error)} for '{repo}'{error.limit}"
        return Problem("gguf_model_endpoint", reason, "a Hub that this host reaches", remedy(reason))

    def _too_many(self, limit: str = "") -> Problem:
        refusal = f"too many requests to {self._endpoint} from this address{limit}"
        fix = "wait five minutes; a token has a limit of its own"
        return Problem("gguf_model_endpoint", refusal, "fewer", fix)

    def _known_error(self, error: Exception, repo: str, revision: str) -> Problem | None:
        """Translate an error that the client has a class for."""
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
            obstacle = f"'{repo}', which is not {where}"
            return Problem("gguf_model_source", obstacle, "a repository that this host may read", fix)
        if isinstance(error, errors.RevisionNotFoundError):
            obstacle = f"'{revision}', which '{repo}' {where} does not have"
            return Problem("gguf_model_revision", obstacle, "a branch, tag or commit of it")
        if isinstance(error, errors.EntryNotFoundError):
            obstacle = f"a file listed in '{repo}' that {self._endpoint} does not serve"
            return Problem("gguf_model_source", obstacle, "a complete repository")
        if isinstance(error, errors.HFValidationError):
            return Problem("gguf_model_source", f"'{repo}'", "'owner/repo' as the Hub spells it")
        if isinstance(error, errors.OfflineModeIsEnabled):
            obstacle = "the Hub's client switched off in the environment of the host"
            return Problem("HF_HUB_OFFLINE", obstacle, "it switched on", "unset HF_HUB_OFFLINE there")
        return None

    def _other_error(self, error: Exception, status: int, repo: str) -> Problem | None:
        """Translate another HTTP status, an unreadable answer, or no answer at all."""
        if status == _TOO_MANY:
            return self._too_many()
        if status:
            answer = f"HTTP status {status} from {self._endpoint} for '{repo}'"
            return Problem("gguf_model_endpoint", answer, "a Hub that answers")
        if isinstance(error, ValueError) or _is_transport(error):
            answer = f"no answer of a Hub from {self._endpoint} ({type(error).__name__}: {error})".splitlines()[0]
            return Problem("gguf_model_endpoint", printable(answer), "one that this host reaches", remedy(answer))
        if isinstance(error, _MISREAD):
            answer = f"an answer of {self._endpoint} for '{repo}' that its client cannot read ({type(error).__name__})"
            return Problem("gguf_model_endpoint", answer, _WANTED, "check the address")
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
        """Return whether the Hub rejects the token. For a bad token it answers as for a missing repository."""
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
    """Return whether a name is that of a GGUF file. A name that is not a string counts, so that it is validated."""
    return not isinstance(path, str) or path.lower().endswith(_GGUF)


def _checked(path: object, size: object, sha256: object) -> HubFile:
    valid = check({"path": path, "size": size, "sha256": sha256}, _MODEL_FILE, "an entry")
    return HubFile(valid["path"], valid["size"], valid["sha256"])


def _is_transport(error: Exception) -> bool:
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _TRANSPORTS
