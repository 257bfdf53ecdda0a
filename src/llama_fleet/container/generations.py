# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The generations in a container's volume: which of them is good, whole and of the model that is asked for, and
what it consists of.
"""

import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping

from ansible_collections.llama_fleet.core.plugins.module_utils.host import unprivileged
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store as release_store
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import checks
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state import generations
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state import store as server_store
from llama_fleet import settings
from llama_fleet.container import record, variables

_ROOT, _INSTANCE = "llama_server_root", "llama_server_instance"


def path() -> str:
    """Of what tells of each generation, by its number, which model was asked for.

    Apart from the record: that one may be removed by hand.
    """
    return os.path.join(record.STATE, "generations.json")


class Store:
    """The generations of the instance that the values are for."""

    def __init__(self, values: Mapping[str, object], catalogue: settings.Catalogue) -> None:
        instance = values.get(_INSTANCE) or catalogue.variables[_INSTANCE].default
        self._folder = pathlib.Path(str(values[_ROOT])) / "instances" / str(instance)
        self._releases = pathlib.Path(str(values["llama_cpp_root"])) / "releases"
        self._generations = server_store.Store(self._folder)
        self._model = variables.model_key(values)
        self._models: dict[str, str] = record.read_object(path()).get("models", {})

    def last_good(self) -> int:
        """The current generation or else the newest that could be started; 0 without one."""
        current = self._generations.current()
        everything = sorted(
            self._generations.all(),
            key=lambda found: (current is not None and found.number == current.number, found.number),
        )
        fits = (
            found.number
            for found in reversed(everything)
            if self._models.get(str(found.number)) == self._model and _is_whole(found)
        )
        return next(fits, 0)

    def switch(self, number: int) -> None:
        """Make it the current one, where it is not: its key is read by way of that link."""
        current = self._generations.current()
        wanted = self._generations.get(number)
        if wanted and (current is None or current.number != number):
            self._generations.switch(wanted)

    def described(self, number: int, *, follows: bool) -> record.Record:
        """What a record says of a generation. ``follows`` says that a release which comes to be there is taken."""
        generation = self._generations.get(number)
        if generation is None:
            raise FileNotFoundError(f"generation {number} below {self._folder}")
        link = str(self._folder / "current")
        return {
            "generation": str(generation.path),
            "summary": (
                f"generation {number}, {generation.manifest.get('build', '')}, {os.path.basename(generation.model)}"
            ),
            "files": {name: record.print_of(name) for name in sorted(_files(generation))},
            "links": {link: record.link_of(link)},
            "user": _user_of(generation),
            "listings": {str(self._releases): record.listing(str(self._releases))} if follows else {},
        }

    def remember(self, number: int) -> None:
        """That this generation is of the model that is asked for now."""
        kept = {str(found.number) for found in self._generations.all()}
        known = {**{name: key for name, key in self._models.items() if name in kept}, str(number): self._model}
        if known != self._models:
            record.write({"models": known}, path())


def _user_of(generation: generations.Generation) -> int:
    """Return the number of the user that its server runs as where the start is root: that with which it passed its
    gate.
    """
    # A file of secrets is handed over, and all others the user reads.
    public = [name for name in _files(generation) if pathlib.Path(name).parent != generation.path]
    secret = {
        generation.options.get("tls_key"),
        generation.options.get("tls_certificate"),
        str(generation.path.parent.parent / "current" / "api-key"),
    }
    if not unprivileged.may_become_others() or unprivileged.blocked(name for name in public if name not in secret):
        return 0
    return host_files.user_of(generation.path.parent.parent.name)


def _is_whole(generation: generations.Generation) -> bool:
    """Whether it passed its gate once, and all that it needs is there."""
    manifest = generation.manifest
    release = release_store.whole_manifest(
        pathlib.Path(str(manifest.get("release", ""))), str(manifest.get("release_fingerprint", ""))
    )
    return (
        generation.good
        and release is not None
        and checks.model_size(generation.model) == manifest.get("model_size")
        and not generation.damage()
    )


def _files(generation: generations.Generation) -> Iterator[str]:
    """Every file that a server of this generation is made of or reads."""
    yield from (str(path) for path in generation.path.iterdir() if not path.name.startswith("."))
    release = pathlib.Path(str(generation.manifest["release"]))
    manifest = release_store.read_manifest(release) or {}
    yield from (str(release / name) for name in (release_store.MANIFEST, *manifest.get("sizes", {})))
    yield from (str(path) for path in checks.shards(pathlib.Path(generation.model)))
    yield from _named([*generation.command, *generation.variables.values()])


def _named(words: Iterable[str]) -> Iterator[str]:
    """Files that are named in a command line or an environment, also in a list of them, and with a number behind."""
    parts = (part for word in words for part in (word, *word.split(",")))
    return (
        name
        for part in parts
        for name in (part, part.rpartition(":")[0])
        if name.startswith("/") and os.path.isfile(name)
    )
