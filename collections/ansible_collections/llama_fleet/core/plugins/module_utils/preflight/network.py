# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Check that everything to be fetched is available: source, model, package index, and the servers of the files."""

from __future__ import annotations

import contextlib
import dataclasses
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import git, proxies
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import REACH, remedy
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.index import is_ignored, parse_page
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import bare
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.choice import choose
from ansible_collections.llama_fleet.core.plugins.module_utils.model.hub_transport import UNKNOWN
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.check import WARNING, Check, fine, wrong
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.listing import parse_listing
from ansible_collections.llama_fleet.core.plugins.module_utils.preflight.web import (
    LARGEST,
    Ask,
    Reply,
    SilentError,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import ShapeError

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.pinned import Package
    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner

_JSON = "application/vnd.pypi.simple.v1+json"
_REFUSED = (401, 403)
_PASSING = (408, 425, 429)
# The most entries on a page of the Hub's listing; further ones are on the next page.
_PAGE = 1000
_SKEW = 300.0  # seconds


@dataclasses.dataclass(frozen=True)
class Answer:
    """The result of asking a place.

    ``size`` is the bytes to be fetched, None if unknown; ``skews`` are clock differences in seconds. ``passing`` marks
    a temporary failure that a download would wait out.
    """

    check: Check
    size: int | None = None
    skews: tuple[float, ...] = ()
    passing: bool = False


@dataclasses.dataclass(frozen=True)
class Place:
    """A URL to ask, the code of its check, and the role variable that names it."""

    code: str
    variable: str
    url: str


class Asker:
    """A client for one place; it collects the clock differences of the answers."""

    def __init__(self, ask: Ask, place: Place) -> None:
        self._ask = ask
        self._place = place
        self._skews: list[float] = []
        self._status = 0

    def get(
        self, url: str, headers: typing.Mapping[str, str] | None = None, listing: bool = False, endpoint: str = ""
    ) -> Reply:
        """Return the answer. Raises SilentError."""
        reply = self._ask(url, headers, listing, endpoint)
        self._status = reply.status
        if reply.skew is not None:
            self._skews.append(reply.skew)
        return reply

    def well(self, state: str, size: int | None = None) -> Answer:
        """Return the answer for a place that works."""
        return Answer(
            fine(self._place.code, self._place.variable, state + proxies.read().via(self._place.url)),
            size,
            tuple(self._skews),
        )

    def bad(self, found: str, wanted: str = "an answer", fix: str = REACH, variable: str = "") -> Answer:
        """Return the answer for a place that does not work."""
        cure = remedy(found) if fix == REACH else fix
        passing = self._status >= 500 or self._status in _PASSING
        return Answer(
            wrong(self._place.code, Problem(variable or self._place.variable, found, wanted, cure)),
            None,
            tuple(self._skews),
            passing,
        )


def silent(place: Place, limit: float) -> Answer:
    """Return the answer for a place that was silent for ``limit`` seconds."""
    silence = f"no answer from {bare(place.url)} within {limit:g} s{proxies.read().via(place.url)}"
    return Answer(wrong(place.code, Problem(place.variable, silence, "an answer", REACH)))


def file(ask: Ask, place: Place, headers: typing.Mapping[str, str] | None = None) -> Answer:
    """Check that a file on a web server can be read."""
    asker = Asker(ask, place)
    try:
        reply = asker.get(place.url, headers)
    except SilentError as error:
        return asker.bad(str(error))
    if not reply.ok:
        return asker.bad(f"HTTP status {reply.status} from {bare(place.url)}", "a file that can be read")
    return asker.well(f"{bare(place.url)} answers", reply.size or None)


def server(ask: Ask, place: Place) -> Answer:
    """Check that a web server answers, with any status."""
    asker = Asker(ask, place)
    try:
        asker.get(place.url)
    except SilentError as error:
        return asker.bad(str(error))
    return asker.well(f"{bare(place.url)} answers")


def package(ask: Ask, place: Place, package_wanted: Package, sha256: str, strict: bool = False) -> Answer:
    """Check that a package index, ``place``, has a file with ``sha256``, and that its server hands it out.

    Unless ``strict``, which is for what pip installs, an index without checksums will do.
    """
    asker = Asker(ask, place)
    if strict and is_ignored(place.url):
        fix = "set trusted-host in the host's /etc/pip.conf"
        wanted = "an index by https, or a host that pip is configured to trust"
        return asker.bad(f"{bare(place.url)}, which pip ignores", wanted, fix)
    page = f"{place.url.rstrip('/')}/{package_wanted.project.lower()}/"
    try:
        reply = asker.get(page, {"Accept": _JSON}, listing=True)
        if not reply.ok:
            return asker.bad(f"HTTP status {reply.status} from {bare(page)}", "a package index that has it")
        listing = {each.sha256: (each.url, each.size) for each in parse_page(reply.body, page, LARGEST)}
        listed = listing.get(sha256) or (None if strict else listing.get(""))
        if listed is None:
            answer = (
                f"{bare(place.url)}, which has no file of {package_wanted.project} {package_wanted.version} with "
                f"sha256 {sha256}"
            )
            return asker.bad(answer, "an index that mirrors PyPI unchanged", "name another one")
        url, size = listed
        held = asker.get(url, endpoint=place.url)
    except ShapeError as error:
        answer = f"an answer of {bare(page)} that is not a valid index page ({error})"
        return asker.bad(answer, "an index with the JSON API (PEP 691)", "name another one")
    except SilentError as error:
        return asker.bad(str(error))
    if not held.ok:
        answer = f"{bare(place.url)}, and HTTP status {held.status} from {bare(url)} for a file of it"
        return asker.bad(answer, "files that can be read")
    size = size or held.size
    what = f"{package_wanted.project} {package_wanted.version}" + (f", {size / 1e6:.0f} MB" if size else "")
    return asker.well(f"{bare(place.url)} has {what}", size or None)


def repository(ask: Ask, place: Place, has_git: bool, run: Runner, limit: float) -> Answer:
    """Check a git repository, if possible by git itself, which knows its own keys and credential helpers."""
    asker = Asker(ask, place)
    shown = bare(place.url) if "://" in place.url else place.url
    if has_git:
        result = git.ask(place.url, ["ls-remote", place.url, "HEAD"], run, limit)
        if result.ok:
            return asker.well(f"{shown} answers git")
        said = git.complaint(result).replace(place.url, shown)
        failure = f"'{said}' from git for {shown}{proxies.read().via(place.url)}"
        return asker.bad(failure, "a repository that can be read")
    if not place.url.startswith(("https://", "http://")):
        return asker.well(f"{shown}, which only git can ask, and there is none yet")
    try:
        reply = asker.get(f"{place.url.rstrip('/')}/info/refs?service=git-upload-pack")
    except SilentError as error:
        return asker.bad(str(error))
    if reply.status in (404, 500, 502, 503, 504):
        return asker.bad(f"HTTP status {reply.status} from {shown}", "a repository that can be read")
    return asker.well(f"{shown} answers")


@dataclasses.dataclass(frozen=True)
class Repo:
    """A model repository on the Hub; ``asked`` is the quant, or None if it is chosen later."""

    name: str
    revision: str
    asked: str | None
    token: str = dataclasses.field(default="", repr=False)


def hub(ask: Ask, place: Place, repo: Repo) -> Answer:
    """Check that the Hub, ``place``, has a model, and that the server of its files hands it out."""
    asker = Asker(ask, place)
    base, revision = place.url.rstrip("/"), urllib.parse.quote(repo.revision, safe="")
    headers = {"Authorization": f"Bearer {repo.token}"} if repo.token else {}
    try:
        reply = _listing(asker, f"{base}/api/models/{repo.name}", revision, headers)
        if not reply.ok:
            return _refused(asker, base, repo, reply)
        files, count = parse_listing(reply.body)
        if repo.asked is None or count >= _PAGE:
            return asker.well(f"{base} answers; the files of '{repo.name}' to fetch are not known yet")
        chosen = choose(files, repo.asked, f"'{repo.name}'")
        held = asker.get(f"{base}/{repo.name}/resolve/{revision}/{urllib.parse.quote(chosen.path)}", headers)
    except SilentError as error:
        return asker.bad(str(error))
    except ProblemError as error:
        return Answer(wrong("model", error.problems[0]))
    except ShapeError as error:
        return asker.bad(f"an answer of {base} that no Hub gives ({error})", "a server that speaks the Hub's protocol")
    if not held.ok:
        return _refused(asker, base, repo, held)
    size = chosen.size or held.size
    return asker.well(f"{base} answers; '{repo.name}' has {chosen.quant or chosen.path}, {size / 1e6:.0f} MB", size)


def _listing(asker: Asker, repository: str, revision: str, headers: typing.Mapping[str, str]) -> Reply:
    """Return the answer with a repository's files. A cache may know another request for them. Raises SilentError."""
    reply = asker.get(f"{repository}/tree/{revision}?recursive=true", headers, listing=True)
    if reply.code or reply.status not in UNKNOWN:
        return reply
    for query in ("?blobs=true", ""):
        with contextlib.suppress(SilentError):
            other = asker.get(f"{repository}/revision/{revision}{query}", headers, listing=True)
            if other.ok:
                return other
    return reply


def _refused(asker: Asker, base: str, repo: Repo, reply: Reply) -> Answer:
    """Explain an HTTP error of the Hub."""
    refusal = f"HTTP status {reply.status}{f' ({reply.code})' if reply.code else ''} from {base} for '{repo.name}'"
    if reply.status in _REFUSED and reply.code != "RepoNotFound":
        fix = f"accept its terms on {base}/{repo.name}, and set the token of an account that was granted access"
        token = "a token, and" if repo.token else "no token, and"
        return asker.bad(f"{token} {refusal}", "access to it", fix, "gguf_model_token")
    if reply.status in (*_REFUSED, 404):
        wanted = "a repository and revision that this host may read"
        return asker.bad(refusal, wanted, "check the name; a private one needs gguf_model_token", "gguf_model_source")
    fix = "wait five minutes; a token has a limit of its own" if reply.status == 429 else REACH
    return asker.bad(refusal, "a Hub that answers", fix)


def clock(skews: typing.Iterable[float]) -> list[Check]:
    """Check the host's clock by the server that agrees with it best, because a proxy may serve an old answer."""
    differences = sorted(skews, key=abs)
    if not differences:
        return []
    skew = differences[0]
    if abs(skew) < _SKEW:
        return [fine("clock", "clock", "right to the minute" if abs(skew) < 60 else f"{abs(skew):.0f} s off")]
    offset = f"{_duration(abs(skew))} {'ahead' if skew > 0 else 'behind'}"
    fix = "switch on time synchronisation (timedatectl set-ntp true), or set the clock"
    wanted = "the time of the servers, because certificates and package lists expire"
    # Only a warning, because the servers may be wrong. If certificates fail for it, the missing answers are the error.
    return [wrong("clock", Problem("clock", offset, wanted, fix), WARNING)]


def _duration(seconds: float) -> str:
    return f"{seconds / 86400:.1f} days" if seconds > 2 * 86400 else f"{seconds / 60:.0f} min"
