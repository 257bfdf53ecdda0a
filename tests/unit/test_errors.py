# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
import pytest

from llama_fleet import errors


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.FleetError("x"), 1),
        (errors.UsageError("x"), 2),
        (errors.RunInterruptedError(15), 143),
        (errors.RunInterruptedError(2), 130),
    ],
)
def test_every_error_has_its_exit_status(error: errors.FleetError, status: int) -> None:
    assert error.exit_code == status
    assert str(error)
