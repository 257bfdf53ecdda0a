# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""A good document of each kind that comes from elsewhere or from an earlier run."""

from __future__ import annotations

SHA, SUM = "0123456789abcdef0123456789abcdef01234567", "ab" * 32
FILE = {
    "type": "file",
    "path": "m-Q4_K_M.gguf",
    "size": 9,
    "blob_id": SHA,
    "oid": SHA,
    "lfs": {"oid": SUM, "sha256": SUM, "size": 9, "pointerSize": 1},
}
PAGE = {
    "files": [{"filename": "x-1.tar.gz", "url": "x", "hashes": {"sha256": SUM}, "size": 9}],
    "meta": {"api-version": "1.0"},
}
RELEASE = {
    "build": "b1",
    "commit": SHA,
    "fingerprint": SUM,
    "fingerprint_parts": {"build": "b1", "cmake_options": {"A": "ON"}, "machine": "x86_64"},
    "backend": "cpu",
    "source": "pypi:x==1",
    "origin": "built",
    "taken_from": "/x",
    "cured": [],
    "smoke_test": {"cpu": {"prompt": 1.5}},
    "options": {
        "flags": ["--port"],
        "environments": ["X"],
        "details": [{"names": ["--port"], "value": "N", "choices": ["a"], "removed": False}],
    },
    "files": {"bin/a": SUM},
    "sizes": {"bin/a": 1},
    "links": {"bin/l": "a"},
}
GENERATION = {
    "runtime": "systemd",
    "release": "/r",
    "release_fingerprint": SUM,
    "model": "/m.gguf",
    "model_size": 1,
    "options": {"port": 8080, "host": "::1"},
    "variables": {"A": "1"},
    "command": ["llama-server", "--port", "8080"],
    "files": {"unit": SUM, "environment": SUM},
    "inputs": {},
    "unit_sha256": SUM,
    "api_key_sha256": "",
    "number": 1,
    "fingerprint": SUM,
    "environment": {"A": "1"},
    "good": True,
    "speed": 1.5,
    "memory": {"CUDA0": 1},
    "memory_plan": [{"device": "CUDA0", "model_mib": 1}],
    "model_file": ["/m.gguf", 1, 1],
    "context_length": 1,
    "previous": 1,
    "build": "b1",
    "created": "2026-01-01",
}
STORED = {"size": 1, "sha256": SUM, "mtime_ns": 1, "inode": 1}
MODEL = {
    "format": 1,
    "source": "owner/repo",
    "revision": SHA,
    "choices": {"": {"quant": "Q4_K_M", "files": ["m.gguf"], "mmproj": "p.gguf", "memory": {"a": 1}}},
    "files": {"m.gguf": STORED, "p.gguf": STORED},
}
INDEX = {
    "format": 1,
    "releases": {
        "b1": {"sha256": SUM, "size": 1, "fingerprint": SUM, "parts": {"build": "b1"}, "signed": True, "packed": 1}
    },
}
COMPLETION = {
    "content": "One, two",
    "tokens": [1, 2],
    "tokens_predicted": 16,
    "timings": {"predicted_per_second": 1.5},
    "completion_probabilities": [{"top_logprobs": [{"logprob": -1.5}]}],
    "data": [{"embedding": [[0.5]], "relevance_score": 1.5}],
    "results": [{"relevance_score": 1.5}],
}
LISTED = {"data": [{"id": "m", "status": {"value": "loaded"}}]}
JOURNAL = {"size": 900, "segment": 300, "sha256": SUM, "origins": ["http://a"], "done": "0.?"}
REVISIONS = {"http://hub": {"main": SHA, "other": SHA}}
SNAPSHOT = {"stage": "x", "done": 1, "total": 2, "unit": "bytes", "elapsed": 1.5, "pid": 1, "before": 1}
