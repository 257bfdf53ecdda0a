# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What the phases with instances of llama-server share: the release, the arguments that all of them have, and what
was wrong.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing

from tests.gpu import instances
from tests.gpu.parcel import ROOT
from tests.gpu.phases import release
from tests.gpu.session import FailedError, Run, parameters

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.tiny_model import Model

SLOTS = 16
_BESIDE = 10
_STEP = 256  # tokens; llama.cpp rounds a context up to these


@dataclasses.dataclass(frozen=True)
class Scene:
    """One phase's instances, on ports of their own, for other phases may leave one on the run's."""

    run: Run
    release: pathlib.Path
    instances: instances.Instances
    wrong: list[str] = dataclasses.field(default_factory=list)

    @property
    def backend(self) -> dict[str, str]:
        """The arguments that let the GPU compute where one does."""
        return {"backend": "cuda", "n_gpu_layers": "all"} if self.run.gpu else {"backend": "cpu"}

    @property
    def port(self) -> int:
        return int(self.instances.common["port"])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def model(self, model: Model) -> str:
        return str(self.run.model_file(model))

    def expect(self, holds: bool, sentence: str) -> bool:
        """Note the ``sentence`` as wrong where something does not hold, and go on; returns whether it holds."""
        if not holds:
            self.wrong.append(sentence)
        return holds

    def described(self, model: Model) -> dict[str, typing.Any]:
        """What a result says of a model."""
        return {
            "shape": model.name,
            "parameters": parameters(model),
            "bytes": self.run.model_file(model).stat().st_size,
        }


@contextlib.contextmanager
def opened(run: Run, *names: str) -> typing.Iterator[Scene]:
    """Give a scene, remove its instances ``names`` afterwards, and raise FailedError with all that was wrong in it."""
    run.install_ansible()
    path = release.path(run)
    environment = run.environment()
    environment["PYTHONPATH"] = f"{environment['PYTHONPATH']}:{ROOT / 'collections'}"
    context = -(-(run.prompt + run.tokens + 64) // _STEP) * _STEP
    common = {"release": str(path), "port": run.port + _BESIDE, "ctx_size": context, "parallel": SLOTS, "cache_ram": 0}
    scene = Scene(run, path, instances.Instances(run.work, environment, common))
    try:
        yield scene
    finally:
        scene.instances.remove(*names)
    if scene.wrong:
        raise FailedError("; ".join(scene.wrong))
