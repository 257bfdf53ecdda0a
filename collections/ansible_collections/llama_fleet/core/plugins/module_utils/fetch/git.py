# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Fetch one commit of a git repository and keep it, so that building it again needs no network."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch import children, proxies
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.ask import remedy
from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.rules import RefusedError
from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Result
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import Problem, ProblemError

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import Runner

# Never prompt for credentials: there is no terminal.
_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0"}
_BUNDLE = "GIT_SSL_CAINFO"


def ask(url: str, words: typing.Sequence[str], run: Runner, seconds: float) -> Result:
    """Run git with ``words``, a command that asks ``url``, with the proxies and authorities of this project's requests.

    Authorities that the environment or git's own configuration names for git take precedence.
    """
    try:
        with children.environment(url) as network:
            if network.get("SSL_CERT_FILE") and not os.environ.get(_BUNDLE):
                own = ["git", "config", "--get-urlmatch", "http.sslCAInfo", url]
                if not run(own, env=_ENVIRONMENT, timeout=60).stdout.strip():
                    network[_BUNDLE] = network["SSL_CERT_FILE"]
            done = run(["git", *words], env={**_ENVIRONMENT, **network}, timeout=seconds)
    except RefusedError as error:
        return Result(128, "", str(error))
    return dataclasses.replace(done, stderr=children.without_secrets(done.stderr))


def list_tags(url: str, variable: str, run: Runner, seconds: float = 60) -> str:
    """Return the output of ``git ls-remote --tags`` for ``url``."""
    listed = ask(url, ["ls-remote", "--tags", url], run, seconds)
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
        raise _unreadable(str(repository), variable, done, f", commit {commit}")


def _fetch(repository: pathlib.Path, url: str, commit: str, variable: str, run: Runner) -> None:
    git = ["git", "--git-dir", str(repository)]
    # A ref of our own protects the commit from git's garbage collection.
    kept = f"+{commit}:refs/llama-fleet/{commit}"
    run(["git", "init", "--quiet", "--bare", str(repository)], env=_ENVIRONMENT, timeout=60)
    fetch = [*git[1:], "fetch", "--quiet"]
    fetched = ask(url, [*fetch, "--no-tags", "--depth", "1", url, kept], run, 3600)
    if not fetched.ok:  # an old server does not serve single commits
        ask(url, [*fetch, "--tags", url, "+refs/heads/*:refs/remotes/origin/*"], run, 3600)
        if not run([*git, "update-ref", f"refs/llama-fleet/{commit}", commit], env=_ENVIRONMENT, timeout=60).ok:
            raise _unreadable(url, variable, fetched, f", commit {commit}")


def _unreadable(where: str, variable: str, result: Result, what: str = "") -> ProblemError:
    return ProblemError(
        Problem(
            variable,
            f"'{complaint(result)}' from git for {where}{what}{proxies.read().via(where)}",
            "a repository and commit that can be read",
            remedy(result.stderr),
        )
    )


def complaint(result: Result) -> str:
    """Return the first line of what git said about its failure."""
    return next((line.strip() for line in result.stderr.splitlines() if line.strip()), f"exit status {result.code}")
