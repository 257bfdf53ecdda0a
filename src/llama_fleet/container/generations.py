# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Find the good and complete generations of the requested model in a container's volume, and list their files."""

import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping

from ansible_collections.llama_fleet.core.plugins.module_utils.host import handover
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store as release_store
from ansible_collections.llama_fleet.core.plugins.module_utils.server.proof import checks
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import host_files
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state import generations
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state import store as server_store
from llama_fleet import settings
from llama_fleet.container import record, variables

_ROOT, _INSTANCE = "llama_server_root", "llama_server_instance"


def path() -> str:
    """Return the path of the file that maps generation numbers to the requested model.

    Kept apart from the record, which users may delete.
    """
    return os.path.join(record.STATE, "generations.json")


class Store:
    """The generations of the instance that the role variables describe."""

    def __init__(self, values: Mapping[str, object], catalogue: settings.Catalogue) -> None:
        instance = values.get(_INSTANCE) or catalogue.variables[_INSTANCE].default
        self._folder = pathlib.Path(str(values[_ROOT])) / "instances" / str(instance)
        self._releases = pathlib.Path(str(values["llama_cpp_root"])) / "releases"
        self._generations = server_store.Store(self._folder)
        self._model = variables.model_key(values)
        self._models: dict[str, str] = record.read_object(path()).get("models", {})

    def last_good(self) -> int:
        """Return the number of the current generation if it can start, else of the newest that can; 0 if none can."""
        current = self._generations.current()
        everything = sorted(
            self._generations.all(),
            key=lambda generation: (current is not None and generation.number == current.number, generation.number),
        )
        fits = (
            generation.number
            for generation in reversed(everything)
            if self._models.get(str(generation.number)) == self._model and _is_whole(generation)
        )
        return next(fits, 0)

    def switch(self, number: int) -> None:
        """Make a generation current, because the server reads its key through that link."""
        current = self._generations.current()
        wanted = self._generations.get(number)
        if wanted and (current is None or current.number != number):
            self._generations.switch(wanted)

    def described(self, number: int, *, follows: bool) -> record.Record:
        """Return what a record contains about a generation.

        With ``follows`` a new release in the volume makes the record outdated. Raises FileNotFoundError.
        """
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
        """Note that a generation has the model that is requested now."""
        kept = {str(generation.number) for generation in self._generations.all()}
        known = {**{name: key for name, key in self._models.items() if name in kept}, str(number): self._model}
        if known != self._models:
            record.write({"models": known}, path())


def _user_of(generation: generations.Generation) -> int:
    """Return the uid that the server runs as if the container starts as root, the one with which it passed its gate;
    0 for root.
    """
    # Secret files are passed in memory; the user must be able to read all others.
    public = [name for name in _files(generation) if pathlib.Path(name).parent != generation.path]
    secret = {
        generation.options.get("tls_key"),
        generation.options.get("tls_certificate"),
        str(generation.path.parent.parent / "current" / "api-key"),
    }
    if not handover.may_become_others() or handover.blocked(name for name in public if name not in secret):
        return 0
    return host_files.user_of(generation.path.parent.parent.name)


def _is_whole(generation: generations.Generation) -> bool:
    """Return whether a generation passed its gate and all its files exist."""
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
    """Yield every file that a server of this generation consists of or reads."""
    yield from (str(path) for path in generation.path.iterdir() if not path.name.startswith("."))
    release = pathlib.Path(str(generation.manifest["release"]))
    manifest = release_store.read_manifest(release) or {}
    yield from (str(release / name) for name in (release_store.MANIFEST, *manifest.get("sizes", {})))
    yield from (str(path) for path in checks.shards(pathlib.Path(generation.model)))
    yield from _named([*generation.command, *generation.variables.values()])


def _named(words: Iterable[str]) -> Iterator[str]:
    """Yield the files named in a command line or environment, also in lists and with a suffix such as ``:0.5``."""
    parts = (part for word in words for part in (word, *word.split(",")))
    return (
        name
        for part in parts
        for name in (part, part.rpartition(":")[0])
        if name.startswith("/") and os.path.isfile(name)
    )
