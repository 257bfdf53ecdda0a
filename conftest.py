# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Settings of all tests."""

from hypothesis import HealthCheck, settings

# A slow machine is no fault of the code: tests count, and pytest-timeout ends what hangs.
settings.register_profile("counts", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("counts")
