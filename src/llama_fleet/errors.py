# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""What a user is told instead of a traceback. The exit codes are those of the command line."""

import enum


class ExitCode(enum.IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


class FleetError(Exception):
    """Its text is one sentence, or one a line, meant for the user."""

    exit_code: int = ExitCode.FAILED


class UsageError(FleetError):
    """What was asked for makes no sense: wrong, unknown or missing settings."""

    exit_code: int = ExitCode.USAGE


class RunInterruptedError(FleetError):
    """A signal ended the run; what it had begun on this machine is ended, too."""

    def __init__(self, signal_number: int) -> None:
        super().__init__("Interrupted. What was done so far is kept: the next run goes on from there.")
        self.exit_code = 128 + signal_number
