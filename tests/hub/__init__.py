# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Serve models, plain files and a package index over real HTTP from one folder, as a Hub for tests.

``repos/<owner>/<name>/`` are repositories, ``files/`` plain files, ``simple/`` wheels and source distributions.
``accounts.json`` maps access tokens to account names. ``.hub.json`` in a repository may hold ``gated`` or ``private``
and the account names that are ``granted``.
"""

from __future__ import annotations

from tests.hub.server import Fault, Hub, Logged

__all__ = ["Fault", "Hub", "Logged"]
