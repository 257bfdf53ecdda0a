# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Bring the bytes of a plan's files from mirrors, the Hub or their own server into the folder of unverified bytes."""

from __future__ import annotations

import posixpath
import typing
import urllib.parse

from ansible_collections.llama_fleet.core.plugins.module_utils.fetch.download import fetch
from ansible_collections.llama_fleet.core.plugins.module_utils.gguf.bytes import require_gguf
from ansible_collections.llama_fleet.core.plugins.module_utils.model import store as model_store
from ansible_collections.llama_fleet.core.plugins.module_utils.model.hub_client import hub_client
from ansible_collections.llama_fleet.core.plugins.module_utils.model.source import VARIABLE
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import BYTES, Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer import request, segments
from ansible_collections.llama_fleet.core.plugins.module_utils.transfer.xet import XetError, fetch_xet

if typing.TYPE_CHECKING:
    import pathlib

    from ansible_collections.llama_fleet.core.plugins.module_utils.model.plan import ModelPlan, RemoteFile
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.request import Request
    from ansible_collections.llama_fleet.core.plugins.module_utils.model.verify import Checker

XET = "xet"
_LARGEST = 1 << 40  # bytes; the limit for a file whose server reports no size


class Transfer:
    """A download of the files of one plan; ``warnings`` are for the user, afterwards."""

    def __init__(self, plan: ModelPlan, request: Request, checker: Checker, progress: Progress) -> None:
        self._plan = plan
        self._request = request
        self._checker = checker
        self._progress = progress
        self._title = f"fetching {posixpath.basename(plan.files[0].name)}"
        self._total = 0
        self._done = 0
        self._count = 0
        self.warnings: list[str] = []

    def run(self, wanted: typing.Sequence[RemoteFile]) -> int:
        """Complete every wanted file among the parts; return the bytes received. Raises ProblemError."""
        missing = [file for file in wanted if not self._is_whole(file)]
        if not missing:
            return 0
        self._total = sum(file.size for file in missing)
        self._progress.stage(self._title)
        received = 0
        if self._request.transport == XET and self._plan.hub and not self._request.mirrors:
            received += self._by_xet(missing)
            missing = [file for file in missing if not self._part(file).exists()]
        sized = [file for file in missing if file.size]
        if sized:
            received += segments.fetch_all(
                [self._wanted(file) for file in sized], VARIABLE, self._seen, waits=self._waits
            ).network_bytes
        for file in missing:
            if not file.size:
                received += self._plainly(file)
        return received

    def _part(self, file: RemoteFile) -> pathlib.Path:
        return model_store.parts_folder(self._plan.folder) / file.sha256

    def _is_whole(self, file: RemoteFile) -> bool:
        """Return whether a killed run left the complete file; a part with a wrong checksum is removed."""
        part = self._part(file)
        if not part.exists():
            return False
        whole = self._checker.right(part.parent, part.name, file.size, file.sha256) is not None
        if not whole:
            part.unlink()
        return whole

    def _waits(self, seconds: int, host: str) -> None:
        if seconds:
            self._progress.stage(f"waiting {seconds} s, as {host} asks")
        else:
            self._progress.stage(self._title)
            self._seen(self._count)

    def _seen(self, count: int) -> None:
        self._count = count
        self._progress.update(min(self._total, self._done + count), self._total, BYTES)

    def _check(self, file: RemoteFile) -> typing.Callable[[bytes], None]:
        def check(first: bytes) -> None:
            if not self._plan.archive:
                require_gguf(first, file.url or f"the mirrors of {file.name}", VARIABLE)

        return check

    def _wanted(self, file: RemoteFile) -> request.Wanted:
        part = self._part(file)
        part.parent.mkdir(parents=True, exist_ok=True)
        return request.Wanted(
            posixpath.basename(file.name), file.sha256, file.size, part, self.origins(file), self._check(file)
        )

    def origins(self, file: RemoteFile) -> tuple[request.Origin, ...]:
        """List the URLs of a file in the order of preference.

        A mirror has the layout of a store and receives no secret. A plan from a record has no URL of its own.
        """
        below = self._plan.folder.relative_to(model_store.models_folder(self._request.root))
        mirrors = [] if self._plan.archive else self._request.mirrors
        path = urllib.parse.quote(f"{below.as_posix()}/{file.name}")
        own = [request.Origin(file.url, self._plan.headers, self._plan.endpoint)] if file.url else []
        return (*(request.Origin(f"{mirror}/{path}") for mirror in mirrors), *own)

    def _by_xet(self, missing: typing.Sequence[RemoteFile]) -> int:
        """Fetch as many files as Xet can deliver; the others are left to HTTP, with a warning."""
        request = self._request
        received = 0
        try:
            with hub_client(
                request.root, request.index_url, self._progress, keep=True, endpoint=request.endpoint
            ) as client:
                for file in missing:
                    part = self._part(file)
                    part.parent.mkdir(parents=True, exist_ok=True)
                    check = self._check(file)
                    received += fetch_xet(
                        client,
                        file.url,
                        request.endpoint,
                        request.token,
                        part,
                        file.size,
                        file.sha256,
                        check,
                        self._seen,
                    )
                    self._done += file.size
        except XetError as error:
            self.warnings.append(f"gguf_model_transport: {error}, so plain HTTP was used instead of Xet.")
        return received

    def _plainly(self, file: RemoteFile) -> int:
        """Fetch a file whose server reports no size."""
        part = self._part(file)
        begun = part.with_name(f"{part.name}.part")
        before = begun.stat().st_size if begun.exists() else 0
        headers, endpoint = self._plan.headers, self._plan.endpoint
        fetch(
            file.url,
            part,
            file.sha256,
            VARIABLE,
            headers,
            self._seen,
            self._check(file),
            most=_LARGEST,
            endpoint=endpoint,
        )
        return max(0, part.stat().st_size - before)
