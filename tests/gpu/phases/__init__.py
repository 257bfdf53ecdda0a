# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The phases of ``tests/gpu/run``, in their order, each in a module of this folder.

A module has ``PHASE = Phase(name, run, least_seconds, needs, there)`` (``tests/gpu/frame.py``) and is named in ``ALL``
below.

- ``run(run: Run)`` is a generator. Each mapping that it yields is one result: a line of ``results.jsonl`` that is on
  the disk before it goes on (``{"phase": name, "values": {...}}``). Yield early and often: at the budget's end the
  phase is killed, and what it has yielded is its partial result.
- It works in a process of its own. It raises ``FailedError`` (or AssertionError, OSError) where something is not as it
  should be: outcome ``failed``; then
  ``NotHereError`` where this host, or this mode, cannot show it: outcome ``not here``. Anything else is a bug: a
  traceback, and ``failed``.
- ``least_seconds`` (a number, or a function of the run): with less than that left the phase is not begun (``skipped``).
- ``needs``: names of phases that have to be ``done``, else it is ``skipped``. No phase waits for a later one.
- ``there(run)``: whether what a phase that is done has made is still there (a second call on a fresh machine); else it
  is repeated.
- A second call never repeats a phase that is ``done`` or ``not here``; one that was skipped, ended or failed is tried
  again. To go on within a phase, ask
  ``Journal(run.work).values(name)`` for what earlier calls have found.
- What a phase starts and leaves (an instance, say) stays for the phases after it and is ended when the call ends. A
  phase never counts on it: it brings up what it needs, which costs nothing where it is there.

``Run`` (``tests/gpu/session.py``): ``folder`` (the parcel), ``work``, ``root`` (of releases), ``mode`` (``gpu``,
``cpu``, ``recorded``; ``run.gpu``: whether a GPU computes), ``models`` (small ones where no GPU computes), ``prompt``,
``tokens``, ``rounds``, ``port``; ``left()`` seconds of the budget;
``play(PLAYBOOK, more)`` runs a play of tests/gpu with the run's role variables and ``more`` and returns what its roles
returned, ``ansible(...)`` any playbook, ``variables(more)`` a file of the variables, ``model_file(model)`` a model as a
file. ``release.path(run)`` is the release's folder. In ``recorded`` mode nvidia-smi on the PATH and NVML beside it
replay a real H100's answers (``tests/gpu/recorded.py``), and the CPU computes.
"""

from __future__ import annotations

import typing

from tests.gpu.phases import changes, cuda, driver, fallback, image, instance, noop, release, sharing, speeds

if typing.TYPE_CHECKING:
    from tests.gpu.frame import Phase

# What says most comes first, so that a small budget still gives the main figures.
ALL: tuple[Phase, ...] = (
    driver.PHASE,
    cuda.PHASE,
    release.PHASE,
    instance.PHASE,
    speeds.PHASE,
    fallback.PHASE,
    sharing.PHASE,
    changes.PHASE,
    speeds.OTHERS,
    noop.PHASE,
    image.PHASE,
)
