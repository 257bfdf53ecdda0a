# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Errors that are shown to the user instead of a traceback, and the exit status of each."""

import enum


class ExitCode(enum.IntEnum):
    """An exit status of the command line."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


class FleetError(Exception):
    """An error with a message for the user: one sentence, or several, one per line."""

    exit_code: int = ExitCode.FAILED


class UsageError(FleetError):
    """An error about wrong, unknown or missing settings."""

    exit_code: int = ExitCode.USAGE


class RunInterruptedError(FleetError):
    """An error for a run that a signal ended, together with its processes on this machine."""

    def __init__(self, signal_number: int) -> None:
        super().__init__("Interrupted. Finished work is kept; the next run continues from there.")
        self.exit_code = 128 + signal_number
