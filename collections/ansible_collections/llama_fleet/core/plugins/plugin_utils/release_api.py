# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the release API of llama.cpp's project which binaries it publishes for Linux, and with which digests.

The API is GitHub's. Of its answers only tags, asset names and digests are used, never its addresses. One question takes
at most four requests.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import ask
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import (
    OriginError,
    RefusedError,
    Road,
    bare,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.status import (
    refusal,
    require_unpacked,
    whole_number,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.published import (
    API,
    ARCHIVE,
    TAG,
    VARIABLE,
    VERSION,
    Published,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import SOURCE
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.upstream import URL as DOWNLOADS
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.versions import (
    LATEST,
    STABLE,
    is_nightly_tag,
    is_stable_tag,
    newest_nightly,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import line
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.untrusted import (
    COMMIT,
    SHA256,
    Flag,
    Many,
    Maybe,
    Record,
    ShapeError,
    Text,
    parse,
)

# A stable version carries no binaries; this asset names the nightly build of the same commit, which has them.
NIGHTLY_TAG = "nightly-tag.txt"


PATIENCE = ask.Patience(seconds=20, total=40, tries=3, longest_wait=10)


_LONGEST = 8 << 20  # bytes of an answer; a release with 40 assets has 70 KB


_LONGEST_LINE = 256  # bytes of a commit or a tag


_PAGE = 10  # releases; the newest may still lack its binaries, because they are uploaded one after another


_LAST_RESET = 1 << 32  # seconds since 1970; a later one is no time that can be shown


_JSON = "application/vnd.github+json"


_COMMIT_ONLY = "application/vnd.github.sha"


_ASSET = Record({"name": Text(most=255)}, {"digest": Maybe(Text(most=200), "")})


_RELEASE = Record({"tag_name": Text(most=255), "assets": Many(_ASSET, most=1000)}, {"draft": Flag()})


_RELEASES = Many(_RELEASE, most=100)


_NEWEST = Record(
    {"nightly": Text(TAG), "stable": Text(rf"|{VERSION}"), "same": Text(rf"|{TAG}"), "unknown": Text(most=1000)}
)


def resolve(reference: str, api: str = API, downloads: str = DOWNLOADS, patience: ask.Patience = PATIENCE) -> Published:
    """Return the published binaries of ``reference``: ``latest``, ``stable``, a ``b`` tag or a ``v`` tag.

    Raises ProblemError.
    """
    place = _Place(api.rstrip("/"), downloads.rstrip("/"), patience)
    stable = ""
    if reference == LATEST:
        release = place.newest()
    else:
        release = place.stable() if reference == STABLE else place.tagged(reference)
    if is_stable_tag(release["tag_name"]):
        stable = release["tag_name"]
        release = place.tagged(place.nightly_of(release))
    tag = release["tag_name"]
    return Published(tag, place.commit(tag), stable, _sums(release))


@dataclasses.dataclass(frozen=True)
class Newest:
    """The newest nightly tag, and the newest stable version with the nightly tag of its commit.

    ``unknown`` says why the stable version is unknown.
    """

    nightly: str
    stable: str = ""
    same: str = ""
    unknown: str = ""

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))


def newest(
    api: str, downloads: str, patience: ask.Patience, latest: Published | None = None, stable: Published | None = None
) -> Newest:
    """Return the newest versions of both channels, with at most three requests.

    ``latest`` and ``stable`` are answers that need not be asked for again. Raises ProblemError.
    """
    place = _Place(api.rstrip("/"), downloads.rstrip("/"), patience)
    nightly = latest.tag if latest else place.newest()["tag_name"]
    if stable:
        return Newest(nightly, stable.stable, stable.tag)
    try:
        release = place.stable()
        return Newest(nightly, release["tag_name"], place.nightly_of(release))
    except ProblemError as error:
        return Newest(nightly, unknown=line(error.problems[0].found, 1000))


def parse_newest(text: str) -> Newest:
    """Return what ``Newest.to_json`` has written. Raises ShapeError."""
    return Newest(**parse(text, _NEWEST, "the newest versions"))


@dataclasses.dataclass(frozen=True)
class _Place:
    """The API, and the address below which the assets are."""

    api: str
    downloads: str
    patience: ask.Patience

    def newest(self) -> dict[str, typing.Any]:
        """Return the newest nightly release that has binaries for Linux. Drafts and stable versions are passed over."""
        releases = self._read(f"releases?per_page={_PAGE}", _RELEASES, LATEST)
        known = {release["tag_name"]: release for release in releases if not release.get("draft") and _sums(release)}
        newest = newest_nightly(known)
        if newest is None:
            reason = f"no nightly release with binaries for Linux among the newest {len(releases)}"
            raise _unexpected(reason, self.api, "a release like b1234 with archives for Ubuntu")
        release: dict[str, typing.Any] = known[newest]
        return release

    def stable(self) -> dict[str, typing.Any]:
        """Return the newest release that is no nightly build."""
        release = self._release("latest", STABLE)
        if not is_stable_tag(release["tag_name"]):
            raise _unexpected(f"the release '{release['tag_name']}' for {STABLE}", self.api, "a version like v0.8.0")
        return release

    def tagged(self, tag: str) -> dict[str, typing.Any]:
        """Return the release of ``tag``."""
        release = self._release(f"tags/{tag}", tag)
        if release["tag_name"] != tag:
            raise _unexpected(f"the release '{release['tag_name']}' for {tag}", self.api, "the one that was asked for")
        return release

    def _release(self, path: str, reference: str) -> dict[str, typing.Any]:
        release: dict[str, typing.Any] = self._read(f"releases/{path}", _RELEASE, reference)
        return release

    def nightly_of(self, release: dict[str, typing.Any]) -> str:
        """Return the nightly tag that a stable release names in its asset, after verifying the asset's digest."""
        version = release["tag_name"]
        digests = {asset["name"]: _digest(asset) for asset in release["assets"]}
        url = f"{self.downloads}/{version}/{NIGHTLY_TAG}"
        if not digests.get(NIGHTLY_TAG):
            raise _unexpected(f"{version} without a digest of {NIGHTLY_TAG}", self.api, "that asset and its digest")
        content = self._get(url, "application/octet-stream", _LONGEST_LINE)
        if hashlib.sha256(content).hexdigest() != digests[NIGHTLY_TAG]:
            reason = f"sha256 {hashlib.sha256(content).hexdigest()}"
            raise _unexpected(reason, url, f"sha256 {digests[NIGHTLY_TAG]}, as the API says")
        tag = content.decode("ascii", "replace").strip()
        if not is_nightly_tag(tag):
            raise _unexpected("something else than a tag", url, "a tag like b1234")
        return tag

    def commit(self, tag: str) -> str:
        url = f"{self.api}/commits/{tag}"
        text = self._get(url, _COMMIT_ONLY, _LONGEST_LINE).decode("ascii", "replace").strip()
        if not re.fullmatch(COMMIT, text):
            raise _unexpected("something else than a commit", url, "40 hexadecimal digits")
        return text

    def _read(self, path: str, shape: typing.Any, reference: str) -> typing.Any:
        url = f"{self.api}/{path}"
        try:
            return parse(self._get(url, _JSON, _LONGEST, reference), shape, "the answer", _LONGEST)
        except ShapeError as error:
            raise _unexpected(str(error), url, "a release as GitHub's API describes it") from error

    def _get(self, url: str, accept: str, most: int, reference: str = "") -> bytes:
        """Return a small answer. Raises ProblemError, with the time of the reset if the rate limit is used up."""
        try:
            road = Road(url)

            def once() -> bytes:
                with ask.opened(road, road.begin(), {"Accept": accept}, self.patience.small) as reached:
                    answer = reached.answer
                    if answer.status != 200:
                        raise _limited(answer.status, answer.header) or refusal(answer, reached.place)
                    require_unpacked(answer)
                    return answer.body(most)

            return ask.tried(once, self.patience)
        except _LimitedError as error:
            raise _unexpected(str(error), self.api, "an answer", _LIMIT_FIX) from error
        except OriginError as error:
            if error.status == 404 and reference:
                reason = f"upstream:{reference}, which is not a release of {bare(self.api)}"
                raise ProblemError(Problem(SOURCE, reason, f"{LATEST}, {STABLE} or the tag of a release")) from error
            raise ask.unreachable(VARIABLE, url, error) from error


_LIMIT_FIX = (
    f"wait, set {VARIABLE} to a mirror, or name build and checksum in {SOURCE} (upstream:b1234#sha256=…), which asks "
    "no API"
)


class _LimitedError(RefusedError):
    """The API's rate limit is used up."""


def _limited(status: int, header: typing.Callable[[str], str]) -> _LimitedError | None:
    """Return the error for an answer that says when the rate limit is reset, else None."""
    reset = whole_number(header("X-RateLimit-Reset"))
    if status not in (403, 429) or header("X-RateLimit-Remaining") != "0" or not reset or reset > _LAST_RESET:
        return None
    time = dt.datetime.fromtimestamp(reset, tz=dt.timezone.utc)
    return _LimitedError(f"HTTP status {status}, and no request left before {time:%Y-%m-%d %H:%M:%S} UTC")


def _digest(asset: typing.Mapping[str, typing.Any]) -> str:
    """Return the SHA-256 of an asset, or an empty string if the API states none."""
    name, _colon, value = str(asset.get("digest") or "").partition(":")
    return value if name == "sha256" and re.fullmatch(SHA256, value) else ""


def _sums(release: typing.Mapping[str, typing.Any]) -> dict[str, str]:
    return {
        asset["name"]: _digest(asset)
        for asset in release["assets"]
        if re.fullmatch(ARCHIVE, asset["name"]) and f"llama-{release['tag_name']}-bin" in asset["name"]
        if _digest(asset)
    }


def _unexpected(reason: str, where: str, wanted: str, fix: str = "") -> ProblemError:
    fix = fix or f"try again later, or correct {VARIABLE}"
    return ProblemError(Problem(VARIABLE, f"{reason} from {bare(where)}", wanted, fix))
