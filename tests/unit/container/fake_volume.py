# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A container's volumes with generations of an instance, whose server prints its arguments and exits."""

import pathlib

from ansible_collections.llama_fleet.core.plugins.module_utils.release import store as release_store
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state import generations
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state import store as server_store
from llama_fleet import settings
from llama_fleet.container import generations as kept_generations
from llama_fleet.container import record, variables

CATALOGUE = settings.load()
SOURCE = "git+https://git.example/llama.cpp"
SETTINGS = {"MODEL": "a/b:Q8_0", "LLAMA_CPP_SOURCE": SOURCE}
# Its own folder is the only place it knows programs in.
SERVER = """#!/bin/sh
echo "arguments: $*"
echo "PPID_OF_SERVER=$PPID"
echo "UID_OF_SERVER=$(/usr/bin/id -u)"
for word; do case "$word" in /proc/self/fd/*) echo "KEY_OF_SERVER=$(/bin/cat "$word")" ;; esac; done
/usr/bin/env
"""


class Volume:
    """``folder``/state and ``folder``/models, and generations in them."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.state = folder / "state"
        self.models = folder / "models"
        self.models.mkdir(parents=True)
        self.phase = folder / "phase.json"

    @property
    def instance(self) -> pathlib.Path:
        return self.state / "etc/llama-fleet/instances/default"

    @property
    def model(self) -> pathlib.Path:
        return self.models / "tiny.gguf"

    @property
    def releases(self) -> pathlib.Path:
        return self.state / "opt/llama-fleet/releases"

    def release(self, build: str = "b1") -> pathlib.Path:
        path = self.releases / f"{build}-{'fe' * 6}"
        staged = release_store.staging(path)
        (staged / "bin").mkdir(parents=True)
        (staged / "bin/llama-server").write_text(SERVER, encoding="utf-8")
        (staged / "bin/llama-server").chmod(0o755)
        manifest = {
            "build": build,
            "commit": "c0ffee",
            "fingerprint": "fe" * 32,
            "fingerprint_parts": {},
            **release_store.describe(staged),
        }
        release_store.publish(staged, path, manifest)
        return path

    def generation(self, *, is_good: bool = True, build: str = "b1", **environment: str) -> int:
        """One more, and the current one."""
        release = self.releases / f"{build}-{'fe' * 6}"
        if not release.exists():
            self.release(build)
        self.model.write_bytes(b"GGUF")
        content = generations.Content(
            runtime="exec",
            release=str(release),
            release_fingerprint="fe" * 32,
            model=str(self.model),
            model_size=4,
            options={"host": "0.0.0.0", "port": 1, "extra_options": {}},
            variables={
                "LLAMA_ARG_MODEL": str(self.model),
                "LLAMA_ARG_PORT": "1",
                "LLAMA_ARG_HOST": "0.0.0.0",
                **environment,
            },
            command=(str(release / "bin/llama-server"), "--no-webui"),
            api_keys=("key",),
        )
        store = server_store.Store(self.instance)
        generation = store.write(content, build=build)
        store.switch(generation)
        return (store.mark_good(generation) if is_good else generation).number

    def record(self, environment: dict[str, str], **more: object) -> record.Record:
        """Write the record of a successful start with ``environment``, and return it."""
        values = variables.of(environment, CATALOGUE)
        names = variables.names(CATALOGUE)
        described = kept_generations.Store(values, CATALOGUE).described(self.generation(), follows=False)
        kept = {
            "desired": record.desired(environment, names),
            "names": names,
            "withheld": variables.secret_names(CATALOGUE),
            "update": "always",
            "remote": None,
            "warning": "",
            "retry_after": 0,
            **described,
            **more,
        }
        record.write(kept)
        return kept

    def patches(self) -> str:
        """For a process of its own: Python that puts the volumes in their places."""
        return (
            "from llama_fleet.container import record\n"
            "from llama_fleet.container import startlog\n"
            "from llama_fleet.container import variables\n"
            f"record.STATE = {str(self.state)!r}\nvariables.MODELS = {str(self.models)!r}\nstartlog.PHASE = "
            f"{str(self.phase)!r}\n"
        )
