# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Fetch one commit of a git repository and keep it, so that building it again needs no network."""

from __future__ import annotations

import hashlib
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result, Runner

# Never prompt for credentials: there is no terminal.
_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0"}


def list_tags(url: str, variable: str, run: Runner, seconds: float = 60) -> str:
    """Return the output of ``git ls-remote --tags`` for ``url``."""
    listed = run(["git", "ls-remote", "--tags", url], env=_ENVIRONMENT, timeout=seconds)
    if not listed.ok:
        raise _unreadable(url, variable, listed)
    return listed.stdout


def mirror(root: pathlib.Path, url: str) -> pathlib.Path:
    """Return the path of the bare repository below ``root`` that keeps the commits fetched from ``url``."""
    return root / "sources" / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.git"


def check_out(root: pathlib.Path, url: str, commit: str, target: pathlib.Path, variable: str, run: Runner) -> None:
    """Check out ``commit`` into ``target``; fetch only that commit, and only if it is not kept yet.

    Raises ProblemError.
    """
    repository = mirror(root, url)
    git = ["git", "--git-dir", str(repository)]
    if not run([*git, "cat-file", "-e", f"{commit}^{{commit}}"], env=_ENVIRONMENT, timeout=60).ok:
        _fetch(repository, url, commit, variable, run)
    target.mkdir(parents=True)
    environment = {**_ENVIRONMENT, "GIT_INDEX_FILE": str(target.with_name(f"{target.name}.index"))}
    done = run(
        [*git, "--work-tree", str(target), "checkout", "--force", commit, "--", "."],
        env=environment,
        cwd=str(target),
        timeout=600,
    )
    if not done.ok:
        raise _unreadable(f"{repository}, commit {commit}", variable, done)


def _fetch(repository: pathlib.Path, url: str, commit: str, variable: str, run: Runner) -> None:
    git = ["git", "--git-dir", str(repository)]
    # A ref of our own protects the commit from git's garbage collection.
    kept = f"+{commit}:refs/llama-fleet/{commit}"
    run(["git", "init", "--quiet", "--bare", str(repository)], env=_ENVIRONMENT, timeout=60)
    fetched = run([*git, "fetch", "--quiet", "--no-tags", "--depth", "1", url, kept], env=_ENVIRONMENT, timeout=3600)
    if not fetched.ok:  # an old server does not serve single commits
        run(
            [*git, "fetch", "--quiet", "--tags", url, "+refs/heads/*:refs/remotes/origin/*"],
            env=_ENVIRONMENT,
            timeout=3600,
        )
        if not run([*git, "update-ref", f"refs/llama-fleet/{commit}", commit], env=_ENVIRONMENT, timeout=60).ok:
            raise _unreadable(f"{url}, commit {commit}", variable, fetched)


def _unreadable(what: str, variable: str, result: Result) -> ProblemError:
    lines = [line for line in result.stderr.splitlines() if line.strip()] or ["no message"]
    return ProblemError(
        Problem(
            variable,
            f"'{lines[0]}' from git for {what}",
            "a repository and commit that can be read",
            "check the address, the network and any proxy of the host",
        )
    )
