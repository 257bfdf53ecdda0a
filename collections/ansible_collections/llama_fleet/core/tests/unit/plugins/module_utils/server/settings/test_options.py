# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
from __future__ import annotations

import dataclasses

from ansible_collections.llama_fleet.core.plugins.module_utils.server.settings import options as server_options
from ansible_collections.llama_fleet.core.tests.unit.fakes.server_options import WANTED


def test_no_key_is_in_what_options_show() -> None:
    options = dataclasses.replace(WANTED, api_key="s3cret", api_keys=("t0p",))
    assert "s3cret" not in repr(options)
    assert "t0p" not in repr(options)
    secret = {field.name for field in dataclasses.fields(options) if not field.repr}
    assert secret == set(server_options.SECRET_FIELDS)
