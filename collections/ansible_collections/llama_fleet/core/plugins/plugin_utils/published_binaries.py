# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the release API of llama.cpp's project on the controller, once for all hosts, and pin its answers.

The lock file lies beside the inventory. All of its lines are comments, because Ansible reads each file of that folder
as an inventory.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import Patience
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import locked, write_atomic
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.published import VARIABLE as API
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.published import Published, parse_published
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import ARGUMENTS, parse_request
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.source import SOURCE, Upstream
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.update import ALWAYS
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.versions import CHANNELS, is_nightly_tag
from ansible_collections.llama_fleet.core.plugins.module_utils.plain_text import line
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError
from ansible_collections.llama_fleet.core.plugins.plugin_utils.asked_once import Question
from ansible_collections.llama_fleet.core.plugins.plugin_utils.release_api import PATIENCE, resolve

LOCK = "upstream.lock"
VARIABLE = "llama_cpp_upstream_lock"
# The options that decide whether to ask, and what.
_READ = (
    *("source", "version", "method", "update", "cpu", "cmake_options", "trusted_signers"),
    *("upstream_api", "upstream_url", "upstream_lock"),
)
_LONGEST = 16 << 20  # characters of a lock; a release adds a thousand
# A build that is possible anyway waits only this long for an answer.
_SHORT = Patience(seconds=5, total=10, tries=1)
_HEADER = (
    "# Commits and digests of llama.cpp's published binaries, pinned at their first use. Keep this file with the\n"
    "# inventory. To accept a release that was published again, remove its lines. All lines are comments, because\n"
    "# Ansible reads each file of this folder as an inventory.\n"
)
_COMMIT = re.compile(r"# pin (?P<tag>b[0-9]{1,9}) commit (?P<value>[0-9a-f]{40})")
_SUM = re.compile(
    r"# pin (?P<tag>b[0-9]{1,9}) sha256 (?P<value>[0-9a-f]{64}) (?P<name>(?:cudart-)?llama-[a-z0-9.-]{1,100}\.tar\.gz)"
)
_RESTORE = "restore it from the inventory's history"
Arguments = typing.Mapping[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Known:
    """The JSON of an answer on published binaries, or why there is none. Both are empty if none was asked."""

    published: str = ""
    unanswered: str = ""

    def __bool__(self) -> bool:
        return bool(self.published)

    @property
    def is_settled(self) -> bool:
        """Return whether the API has answered, or has given no answer."""
        return bool(self.published or self.unanswered)

    def among(self, arguments: Arguments, prefix: str = "") -> dict[str, typing.Any]:
        """Return the module's ``arguments``, whose names begin with ``prefix``, with what is known.

        While nothing is, a plan ends where it needs the answer.
        """
        known = {**dataclasses.asdict(self), "asks_first": not self.is_settled}
        return {**arguments, **{f"{prefix}{name}": value for name, value in known.items()}}


@dataclasses.dataclass(frozen=True)
class Wish:
    """The binaries that a host may need.

    ``required`` says that it cannot build instead; ``moving``, that they change by themselves and are looked up at each
    run.
    """

    reference: str
    required: bool
    moving: bool
    api: str
    downloads: str
    lock: pathlib.Path

    @property
    def question(self) -> Question:
        return question_of(self.api, self.downloads, self.reference)

    def answered(self) -> Published | None:
        """Return the answer that needs no request: a pinned tag, or what was learnt in this run or a short time ago."""
        return _pinned(self.lock, self.reference) or learnt(self.question)

    def ask(self) -> Published:
        """Return the answer of the API, checked against the lock. Raises ProblemError."""
        patience = PATIENCE if self.required else _SHORT
        answer = self.question.ask(
            lambda: resolve(self.reference, self.api, self.downloads, patience).to_json(), patient=self.required
        )
        published = parse_published(answer)
        verify(self.lock, published)
        return published

    def known(self, *, ask: bool, warn: typing.Callable[[str], object]) -> Known:
        """Return what is known of the binaries. Unknown ones are no failure if the host can build instead.

        Raises ProblemError, also where a digest has changed.
        """
        try:
            answer = self.answered() or (self.ask() if ask else None)
        except ProblemError as error:
            if self.required or error.problems[0].subject not in (API, SOURCE):
                raise
            reason = error.problems[0].found
            warn(line(f"llama.cpp's published binaries are unknown, so a host may have to build: {reason}.", 4000))
            return Known(unanswered=line(reason, 1000))
        if answer is None:
            return Known()
        verify(self.lock, answer)
        return Known(answer.to_json())


def question_of(api: str, downloads: str, reference: str) -> Question:
    """Return the question which binaries are published for ``reference``, a channel or a tag."""
    return Question((api, downloads, reference), API, parse_published)


def learnt(question: Question) -> Published | None:
    """Return the kept answer to ``question``, or None."""
    answer = question.answer()
    return parse_published(answer) if answer else None


def wish(arguments: Arguments, inventory_folder: str) -> Wish | None:
    """Return what to ask the API for, or None if the module's ``arguments`` are invalid or want no such binaries."""
    if not isinstance(arguments.get("source"), str):
        return None  # which the module reports
    defaults = {name: option.get("default") for name, option in ARGUMENTS.items()}
    try:
        request = parse_request({**defaults, **{name: arguments[name] for name in _READ if name in arguments}})
    except ProblemError:
        return None  # as above, with all other problems
    if not request.reference:
        return None
    given = request.upstream_lock or (f"{inventory_folder}/{LOCK}" if inventory_folder else "")
    lock = pathlib.Path(given or f"~/.config/llama-fleet/{LOCK}").expanduser()
    required = isinstance(request.source, Upstream) or request.method == "upstream"
    moving = required and request.reference in CHANNELS and request.update == ALWAYS
    return Wish(request.reference, required, moving, request.upstream_api, request.upstream_url, lock)


def known_of(plan: typing.Mapping[str, typing.Any], *, with_parts: bool = True) -> str:
    """Return what ``plan``, which has passed the door for results, hands on as JSON; empty without a whole plan.

    The host checks it again and takes no checksum and no path from it. ``with_parts`` also hands on the parts of the
    build that the plan found necessary.
    """
    if not plan or plan.get("failed"):
        return ""
    parts = plan.get("fingerprint_parts", {}) if with_parts and plan.get("would_compile") else {}
    revision = {name: plan.get(name, "") for name in ("commit", "build", "nightly")}
    return json.dumps({**revision, "parts": parts, **plan.get("archive", {})})


def once_more(arguments: Arguments, plan: Arguments) -> dict[str, typing.Any]:
    """Return the arguments of a second plan that does not ask again for what the first ``plan`` has learnt."""
    known = known_of(plan)
    return {**arguments, "cache": [], "known": known} if known else dict(arguments)


def pin(lock: pathlib.Path, answer: Published) -> None:
    """Add what the lock does not hold yet. Raises ProblemError if it holds something else."""
    if not _missing(lock, answer):
        return
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with locked(lock.with_name(f".{lock.name}.lock")):
            missing = _missing(lock, answer)
            before = lock.read_text(encoding="utf-8") if lock.exists() else _HEADER
            write_atomic(lock, before + "".join(f"{each}\n" for each in missing))
    except OSError as error:
        wanted = "a file that this user can write"
        raise ProblemError(Problem(VARIABLE, f"{lock} ({error.strerror})", wanted, "name another one")) from error


def verify(lock: pathlib.Path, answer: Published) -> None:
    """Raise ProblemError if the lock holds another commit or digest than ``answer``."""
    _missing(lock, answer)


def _missing(lock: pathlib.Path, answer: Published) -> list[str]:
    pinned = _read(lock)
    wanted = {(answer.tag, ""): answer.commit, **{(answer.tag, name): value for name, value in answer.sums.items()}}
    for (tag, name), value in wanted.items():
        before = pinned.get((tag, name), value)
        if before != value:
            kind = "digest" if name else "commit"
            raise ProblemError(
                Problem(
                    f"{name or tag} of llama.cpp's published binaries",
                    f"the {kind} {value}",
                    f"{before}, as {lock} has pinned it",
                    f"find out why it was published again; only then remove its lines from {lock}",
                )
            )
    return [
        f"# pin {tag} sha256 {value} {name}" if name else f"# pin {tag} commit {value}"
        for (tag, name), value in wanted.items()
        if (tag, name) not in pinned
    ]


def _pinned(lock: pathlib.Path, reference: str) -> Published | None:
    """Return the binaries of a nightly tag as the lock holds them, or None."""
    if not is_nightly_tag(reference):
        return None
    pinned = _read(lock)
    sums = {name: value for (tag, name), value in pinned.items() if tag == reference and name}
    commit = pinned.get((reference, ""), "")
    return Published(reference, commit, "", sums) if commit and sums else None


def _read(lock: pathlib.Path) -> dict[tuple[str, str], str]:
    """Return each pinned value by tag and archive; the commit's archive is empty. Raises ProblemError."""
    try:
        with lock.open(encoding="utf-8") as file:
            text = file.read(_LONGEST + 1)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        wanted = "a lock that can be read"
        raise ProblemError(Problem(VARIABLE, f"{lock} ({error})", wanted, _RESTORE)) from error
    if len(text) > _LONGEST:  # what is behind it would be neither read nor compared
        wanted = f"at most {_LONGEST >> 20} MiB"
        raise ProblemError(Problem(VARIABLE, f"more in {lock}", wanted, "remove the lines of old releases"))
    return _parse(text.splitlines(), lock)


def _parse(lines: typing.Iterable[str], lock: pathlib.Path) -> dict[tuple[str, str], str]:
    pinned: dict[tuple[str, str], str] = {}
    for number, text in enumerate(lines, 1):
        match = _COMMIT.fullmatch(text) or _SUM.fullmatch(text)
        if match:
            key = (match["tag"], match.groupdict().get("name", ""))
            if pinned.setdefault(key, match["value"]) != match["value"]:
                wanted = "one value for each commit and archive"
                raise ProblemError(Problem(VARIABLE, f"another value in line {number} of {lock}", wanted, _RESTORE))
        elif text.strip() and (not text.startswith("#") or text.startswith("# pin")):
            wanted = "'# pin b1234 commit …' or '# pin b1234 sha256 … llama-….tar.gz'"
            raise ProblemError(Problem(VARIABLE, f"line {number} of {lock}", wanted, _RESTORE))
    return pinned
