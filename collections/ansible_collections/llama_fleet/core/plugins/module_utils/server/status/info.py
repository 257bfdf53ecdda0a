# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Report the state of a host's instances from files, processes and HTTP, without changing anything."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import pathlib
import re
import typing

from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.quant import quant_of
from ansible_collections.llama_fleet.core.plugins.module_utils.host import processes
from ansible_collections.llama_fleet.core.plugins.module_utils.nvidia import processes as nvidia_processes
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.release import background
from ansible_collections.llama_fleet.core.plugins.module_utils.release import store as release_store
from ansible_collections.llama_fleet.core.plugins.module_utils.runtimes import AUTO
from ansible_collections.llama_fleet.core.plugins.module_utils.server import room as server_room
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import metrics as server_metrics
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate import trust as server_trust
from ansible_collections.llama_fleet.core.plugins.module_utils.server.gate.client import base_of, listens_everywhere
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes import registry
from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.host import Place, RuntimeHost
from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings.instance_name import is_instance_name
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.generations import Generation, device_of
from ansible_collections.llama_fleet.core.plugins.module_utils.server.state.store import Store
from ansible_collections.llama_fleet.core.plugins.module_utils.server.status import drift as server_drift
from ansible_collections.llama_fleet.core.plugins.module_utils.server.status.seen import Seen

if typing.TYPE_CHECKING:
    from ansible_collections.llama_fleet.core.plugins.module_utils.server.runtimes.runtime import Runtime

Facts = dict[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Inspector:
    """An inspector of the instances below ``root``; with ``metrics`` it also asks for their load."""

    root: pathlib.Path
    runtime_root: pathlib.Path
    host: RuntimeHost
    metrics: bool = True
    proc: pathlib.Path = processes.PROC
    fetcher: typing.Callable[[str, server_trust.Trust], server_metrics.Fetch] = server_metrics.fetcher

    def names(self) -> list[str]:
        """List the instances that have a folder."""
        try:
            entries = os.listdir(self.root / "instances")
        except OSError:
            return []
        return sorted(
            entry for entry in entries if is_instance_name(entry) and (self.root / "instances" / entry).is_dir()
        )

    def inspect(self, name: str) -> Facts:
        """Return all facts of an instance, which may be absent."""
        seen = self.see(name)
        manifest = seen.current.manifest if seen.current else {}
        report = self._report(seen.current, seen.process) if seen.process and seen.current else server_metrics.Report()
        model = str(manifest.get("model", ""))
        release = str(manifest.get("release", ""))
        process = seen.process
        device = _device(seen.current)
        return {
            "instance": name,
            "state": _state(seen, report),
            "generation": seen.number,
            "good": bool(seen.current and seen.current.good),
            "generations": [_described(generation, seen.number) for generation in seen.generations],
            "runtime": str(manifest.get("runtime", "")),
            "release": release,
            **release_store.record_of(pathlib.Path(release)),
            "build": build_of(manifest),
            "model": model,
            "quant": quant_of(model) if model else "",
            "endpoint": _base_of(seen.current) if seen.current else "",
            "listens_everywhere": bool(seen.current and listens_everywhere(seen.current.host)),
            "device": device,
            "pid": process.pid if process else 0,
            "memory_mib": _resident_mib(process.pid, self.proc) if process else 0,
            "gpu_memory_mib": nvidia_processes.used_mib(self.host.run, [each.pid for each in seen.own])
            if process and device not in ("", "cpu")
            else 0,
            "uptime_seconds": _uptime(process, self.proc) if process else 0,
            **{
                field.name: getattr(report, field.name)
                for field in dataclasses.fields(report)
                if field.name not in ("health", "silent")
            },
            "drift": server_drift.drift_of(seen, self.proc),
            "background": _background(background.read(seen.folder), release),
            "unknown": [*seen.unreadable, *_silences(report)],
            "log": seen.runtime.log,
        }

    def see(self, name: str) -> Seen:
        """Read an instance's files and processes."""
        folder = self.root / "instances" / name
        store = Store(folder)
        number = _link_number(folder / "current")
        current = store.current()
        unreadable = [str(problem) for problem in server_room.obstacles(folder)]
        unreadable += (
            []
            if current or not number
            else [f"generation {number} cannot be read by this user: {folder / 'generations' / str(number)}"]
        )
        kind = registry.chosen(current.runtime if current else AUTO, self.host)
        runtime = kind.at(Place(folder, self.runtime_root, self.host))
        own, silence = self._own(runtime)
        return Seen(
            name=name,
            folder=folder,
            generations=tuple(store.all()),
            number=number,
            current=current,
            runtime=runtime,
            own=own,
            recorded=not silence and runtime.recorded(),
            stopped=store.stopped,
            unreadable=(*unreadable, *silence),
            hidden=bool(silence),
        )

    def _own(self, runtime: Runtime) -> tuple[tuple[processes.Process, ...], tuple[str, ...]]:
        """Return the instance's processes, and the reason if they cannot be determined."""
        try:
            return tuple(runtime.own()) or self._as_recorded(runtime), ()
        except ProblemError as error:
            return (), (str(error),)

    def _as_recorded(self, runtime: Runtime) -> tuple[processes.Process, ...]:
        """Return the process that the runtime has on record, if this user may not read its environment."""
        process = runtime.recorded_process(self.proc) if self.host.euid != 0 else None
        return (process,) if process else ()

    def _report(self, current: Generation, process: processes.Process) -> server_metrics.Report:
        # A router has no metrics of its own.
        return server_metrics.ask(
            self.fetcher(_base_of(current), server_trust.of(current, process, self.proc)),
            self.metrics and bool(current.model),
            may_sleep(current),
        )


def build_of(manifest: typing.Mapping[str, typing.Any]) -> str:
    """Return the release's build as the generation records it, else as the release itself does."""
    release = str(manifest.get("release", ""))
    if not release:
        return ""
    build = manifest.get("build") or (release_store.read_manifest(pathlib.Path(release)) or {}).get("build", "")
    return str(build or "")


def may_sleep(generation: Generation) -> bool:
    """Return whether the server unloads its model when it is idle."""
    command = generation.command
    given = command[command.index("--sleep-idle-seconds") + 1] if "--sleep-idle-seconds" in command[:-1] else ""
    seconds = given or generation.variables.get("LLAMA_ARG_SLEEP_IDLE_SECONDS", "-1")
    return not seconds.startswith("-")


def _background(record: background.Background, release: str) -> str:
    """Return what is to be said of a native build; nothing of a switch that another run or a rollback has undone."""
    manifest = release_store.read_manifest(pathlib.Path(release)) or {} if release else {}
    serves = record.build in (manifest.get("build"), manifest.get("nightly")) and manifest.get("origin") != "upstream"
    return "" if record.outcome == background.SWITCHED and not serves else str(record)


def _state(seen: Seen, report: server_metrics.Report) -> str:
    if seen.process:
        if not report.health:
            return "running" if seen.current is None else "unresponsive"
        return {"ok": "running", "loading": "loading", "sleeping": "sleeping"}.get(report.health, "unresponsive")
    if seen.hidden:
        return "unresponsive"
    if not seen.number and not seen.generations:
        return "absent"
    return "stopped" if seen.stopped else "failed"


def _silences(report: server_metrics.Report) -> list[str]:
    return [*report.silent, *([report.health] if report.health not in ("", "ok", "loading", "sleeping") else [])]


def _link_number(link: pathlib.Path) -> int:
    try:
        name = os.path.basename(os.readlink(link))
    except OSError:
        return 0
    return int(name) if name.isdigit() else 0


def _described(generation: Generation, current: int) -> Facts:
    manifest = generation.manifest
    return {
        "number": generation.number,
        "good": generation.good,
        "created": str(manifest.get("created") or _written(generation.path)),
        "build": build_of(manifest),
        "model": os.path.basename(str(manifest.get("model", ""))),
        "current": generation.number == current,
        "speed": float(manifest.get("speed") or 0.0),
    }


def _written(path: pathlib.Path) -> str:
    try:
        return dt.datetime.fromtimestamp(int(path.stat().st_mtime), dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OSError:
        return ""


def _device(generation: Generation | None) -> str:
    if generation is None:
        return ""
    command = generation.command
    given = {"LLAMA_ARG_DEVICE": command[command.index("--device") + 1]} if "--device" in command[:-1] else {}
    return device_of({**given, **generation.variables})


def _resident_mib(pid: int, proc: pathlib.Path) -> int:
    try:
        match = re.search(
            r"^VmRSS:\s+(\d+) kB",
            (proc / str(pid) / "status").read_text(encoding="utf-8", errors="replace"),
            re.MULTILINE,
        )
    except OSError:
        return 0
    return int(match[1]) // 1024 if match else 0


def _uptime(process: processes.Process, proc: pathlib.Path) -> int:
    try:
        now = float((proc / "uptime").read_text(encoding="ascii").split()[0])
    except OSError:
        return 0
    return max(0, int(now - process.started / os.sysconf("SC_CLK_TCK")))


def _base_of(generation: Generation) -> str:
    """Return the server's URL. Host and port of a manifest that lacks them have their defaults."""
    return base_of({**generation.options, "host": generation.host, "port": generation.port})
