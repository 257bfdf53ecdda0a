# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Share what the phases with instances of llama-server need: release, common arguments, and the list of faults."""

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
    """The instances of one phase, on their own ports, because other phases may leave an instance on the run's port."""

    run: Run
    release: pathlib.Path
    instances: instances.Instances
    wrong: list[str] = dataclasses.field(default_factory=list)

    @property
    def backend(self) -> dict[str, str]:
        """Return the arguments that select the GPU, if there is one."""
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
        """Note the ``sentence`` as a fault unless ``holds``, and continue; return ``holds``."""
        if not holds:
            self.wrong.append(sentence)
        return holds

    def described(self, model: Model) -> dict[str, typing.Any]:
        """Return what a result says of a model."""
        return {
            "shape": model.name,
            "parameters": parameters(model),
            "bytes": self.run.model_file(model).stat().st_size,
        }


@contextlib.contextmanager
def opened(run: Run, *names: str) -> typing.Iterator[Scene]:
    """Yield a scene, then remove its instances ``names``, and raise FailedError with all its faults."""
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
