# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The Hub through its own client: revisions, listings, checksums and URLs; every error as one sentence."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

DEFAULT_ENDPOINT = "https://huggingface.co"

_TIMEOUT = 30.0  # the client itself has none
_SHA256 = re.compile(r"[0-9a-f]{64}")
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
        return str(info.sha)

    def tree(self, repo: str, commit: str) -> list[HubFile]:
        """All files at ``commit``."""
        with self._problems(repo, commit):
            entries = list(self._api.list_repo_tree(repo, recursive=True, revision=commit))
        files = [entry for entry in entries if hasattr(entry, "blob_id")]
        return [HubFile(entry.path, entry.size, entry.lfs.sha256 if entry.lfs else "") for entry in files]

    def stated(self, repo: str, commit: str, path: str) -> HubFile:
        """What the Hub says of one file where it hands it out; raises where this user may not have it."""
        with self._problems(repo, commit):
            metadata = self._client.get_hf_file_metadata(self.url(repo, commit, path), token=self._secret, timeout=_TIMEOUT)
        etag = metadata.etag or ""
        return HubFile(path, metadata.size or 0, etag if _SHA256.fullmatch(etag) else "")

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
        status = getattr(getattr(error, "response", None), "status_code", 0)
        if self._token and status in (401, 403) and self._token_is_bad():
            fix = "make a new one, or leave it out for public repositories"
            return Problem("gguf_model_token", f"a token that {self._endpoint} does not accept", "a valid access token", fix)
        return self._told(error, repo, revision) or self._not_told(error, status, repo)

    def _told(self, error: Exception, repo: str, revision: str) -> Problem | None:
        """What the client has a class of its own for."""
        errors = self._client.errors
        where = f"on {self._endpoint}"
        if isinstance(error, errors.GatedRepoError):
            return self._gated(repo)
        if isinstance(error, errors.RepositoryNotFoundError):
            fix = "check the name, and that the token may read it if it is private" if self._token else "check the name; a private one needs gguf_model_token"
            return Problem("gguf_model_source", f"'{repo}', which is not {where}", "a repository that this host may read", fix)
        if isinstance(error, errors.RevisionNotFoundError):
            return Problem("gguf_model_revision", f"'{revision}', which '{repo}' {where} does not have", "a branch, tag or commit of it")
        if isinstance(error, errors.EntryNotFoundError):
            return Problem("gguf_model_source", f"a file listed in '{repo}' that {self._endpoint} does not hand out", "a complete repository")
        if isinstance(error, errors.HFValidationError):
            return Problem("gguf_model_source", f"'{repo}'", "'owner/repo' as the Hub spells it")
        if isinstance(error, errors.OfflineModeIsEnabled):
            return Problem("HF_HUB_OFFLINE", "the Hub's client switched off in the environment of the host", "it switched on", "unset HF_HUB_OFFLINE there")
        return None

    def _not_told(self, error: Exception, status: int, repo: str) -> Problem | None:
        """Any other answer, and none at all."""
        if status == 429:
            fix = "wait five minutes; a token has a limit of its own"
            return Problem("gguf_model_endpoint", f"too many requests to {self._endpoint} from this address", "fewer", fix)
        if status:
            return Problem("gguf_model_endpoint", f"HTTP status {status} from {self._endpoint} for '{repo}'", "a Hub that answers")
        if isinstance(error, ValueError) or _is_transport(error):
            found = f"no answer of a Hub from {self._endpoint} ({type(error).__name__}: {error})".splitlines()[0]
            return Problem("gguf_model_endpoint", found, "one that this host reaches", "check the address, the network and any proxy of the host")
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
            if getattr(getattr(error, "response", None), "status_code", 0) == 401 or type(error).__name__ == "LocalTokenNotFoundError":
                return True
            if not _is_transport(error):
                raise
        return False


def _is_transport(error: Exception) -> bool:
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _TRANSPORTS


def require_token(token: str) -> str:
    """``token`` without the space around it; raises where it cannot stand in a header, without telling it."""
    cleaned = token.strip()
    if cleaned and not re.fullmatch(r"[\x21-\x7e]+", cleaned):
        found = "characters that no token has, such as a space or a line break"
        raise ProblemError(Problem("gguf_model_token", found, "an access token as the Hub shows it"))
    return cleaned
