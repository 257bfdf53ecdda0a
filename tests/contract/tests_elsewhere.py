# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""The sources whose tests are not in a file of their own path: where they are tested, and why there."""

from __future__ import annotations

from tests.contract import house

UNIT = f"{house.CORE}/tests/unit/plugins"
ELSEWHERE: dict[str, tuple[str, frozenset[str]]] = {
    f"{UNIT}/module_utils/server/gate/test_gate.py": (
        "names three exceptions, which the tests of the gate provoke",
        frozenset({"module_utils/server/gate/errors.py"}),
    ),
    f"{UNIT}/module_utils/background/test_worker.py": (
        "the challenge is the second half of the worker, and its processes are needed to kill it in each step",
        frozenset({"module_utils/server/challenge.py"}),
    ),
    f"{UNIT}/modules/test_llama_server_speed.py": (
        "needs two servers that run at the same time",
        frozenset({"module_utils/server/beside.py", "module_utils/server/contest.py"}),
    ),
    f"{UNIT}/plugin_utils/test_host_action.py": (
        "classes with hardly a line of their own: that each inherits the base is tested here",
        frozenset(
            {
                "action/cuda_toolkit.py",
                "action/gguf_info.py",
                "action/gguf_model.py",
                "action/llama_gateway_traffic.py",
                "action/llama_cpp_release_info.py",
                "action/llama_server.py",
                "action/llama_server_info.py",
                "action/nvidia_driver_info.py",
            }
        ),
    ),
    "tests/gateway": (
        "a real HAProxy reads what these write, and answers what they ask",
        frozenset(
            {
                "module_utils/gateway/config.py",
                "module_utils/gateway/frontend.py",
                "module_utils/gateway/runtime.py",
                "module_utils/gateway/traffic.py",
            }
        ),
    ),
    "tests/server/test_gateway.py": (
        "a real host with systemd and real llama-servers",
        frozenset(
            {
                "modules/llama_gateway.py",
                "modules/llama_gateway_traffic.py",
                "module_utils/gateway/host.py",
                "module_utils/gateway/plan.py",
                "module_utils/gateway/stage.py",
                "module_utils/gateway/unit.py",
            }
        ),
    ),
    f"{UNIT}/module_utils/server/runtimes/test_unit_file.py": (
        "data only, compared with the units of known text",
        frozenset({"module_utils/host/unit_hardening.py"}),
    ),
    "tests/unit/plays": (
        "needs a play or its inventory, so real plays run it",
        frozenset(
            {
                "action/llama_gateway.py",
                "action/preflight_info.py",
                "modules/plan_info.py",
                "modules/preflight_info.py",
                "plugin_utils/fleet_servers.py",
                "action/llama_cpp_native.py",
                "modules/llama_cpp_native.py",
            }
        ),
    ),
    "tests/contract/test_validate_variables.py": (
        "ansible-playbook runs the two together",
        frozenset({"action/validate_variables.py", "modules/validate_variables.py"}),
    ),
    "tests/contract/test_added_runtime.py": (
        "generated; a runtime is added to a copy of the tree",
        frozenset({"module_utils/server/runtimes/classes.py"}),
    ),
    f"{UNIT}/module_utils/cuda/test_releases.py": (
        "data only, which the releases hold",
        frozenset({"module_utils/cuda/architectures.py"}),
    ),
    f"{UNIT}/module_utils/model/test_memory_choice.py": (
        "measures the memory that a model is chosen for",
        frozenset({"module_utils/release/free_memory.py"}),
    ),
    f"{UNIT}/plugin_utils/test_release_api.py": (
        "the answer of the API, which the tests of the API make",
        frozenset({"module_utils/llama_cpp/published.py"}),
    ),
    f"{UNIT}/module_utils/gguf/test_header.py": (
        "data only, which the header's tests read files with",
        frozenset({"module_utils/gguf/types.py"}),
    ),
    "tests/contract/test_tool_pins.py": (
        "data only, compared with the lock files",
        frozenset({"module_utils/tools/build_pins.py", "module_utils/tools/hub_pins.py"}),
    ),
    f"{UNIT}/module_utils/release/test_smoke_test.py": (
        "makes the model that proves a release",
        frozenset({"module_utils/gguf/tiny_model.py"}),
    ),
    "tests/hostile/test_archives.py": (
        "its tests are hostile archives of every kind",
        frozenset({"module_utils/fetch/archives.py", "module_utils/fetch/tar.py"}),
    ),
    f"{UNIT}/module_utils/fetch/test_ask.py": (
        "a part of the HTTP client, tested over real connections",
        frozenset({"module_utils/fetch/pool.py"}),
    ),
    f"{UNIT}/module_utils/fetch/test_ask_time.py": (
        "the clock of the HTTP client, tested over real connections",
        frozenset({"module_utils/fetch/clock.py"}),
    ),
    "tests/unit/modules/segments": (
        "needs the test hub; a transfer is tested whole",
        frozenset(
            {
                "module_utils/transfer/file.py",
                "module_utils/transfer/origin.py",
                "module_utils/transfer/request.py",
                "module_utils/transfer/schedule.py",
                "module_utils/transfer/segments.py",
                "module_utils/transfer/workers.py",
            }
        ),
    ),
    "tests/unit/modules/test_xet.py": (
        "needs a store that hf_xet made",
        frozenset({"module_utils/transfer/xet.py", "module_utils/transfer/xet_line.py"}),
    ),
    "tests/unit/modules/gguf_info": (
        "needs the test hub",
        frozenset({"modules/gguf_info.py", "module_utils/gguf/remote.py", "module_utils/model/inspect.py"}),
    ),
    "tests/unit/modules/gguf_model": (
        "needs the test hub; the stage is tested whole",
        frozenset(
            {
                "modules/gguf_model.py",
                "module_utils/model/choice.py",
                "module_utils/model/fetch.py",
                "module_utils/model/hub.py",
                "module_utils/model/hub_client.py",
                "module_utils/model/hub_transport.py",
                "module_utils/model/local.py",
                "module_utils/model/plan.py",
                "module_utils/model/removal.py",
                "module_utils/model/request.py",
                "module_utils/model/result.py",
                "module_utils/model/stage.py",
                "module_utils/model/store.py",
                "module_utils/model/transfer.py",
                "module_utils/model/wheel.py",
            }
        ),
    ),
    f"{UNIT}/modules/test_llama_cpp_release.py": (
        "needs a builder: the stage is tested whole",
        frozenset({"module_utils/llama_cpp/make.py", "module_utils/llama_cpp/stage.py"}),
    ),
    f"{UNIT}/modules/test_llama_server.py": (
        "the module is nothing but the call",
        frozenset({"module_utils/server/call.py"}),
    ),
    f"{UNIT}/action/test_llama_cpp_release.py": (
        "decides what the action does",
        frozenset({"plugin_utils/sharing.py"}),
    ),
    f"{UNIT}/modules/test_cuda_toolkit.py": (
        "the module is nothing but the stage",
        frozenset({"module_utils/cuda/stage.py"}),
    ),
    f"{UNIT}/modules/test_nvidia_driver_info.py": (
        "the module is nothing but the stage",
        frozenset({"module_utils/nvidia/stage.py"}),
    ),
    f"{UNIT}/module_utils/llama_cpp/test_plan.py": (
        "the input of a plan, which the plan's tests vary",
        frozenset({"module_utils/llama_cpp/request.py"}),
    ),
    f"{UNIT}/module_utils/nvidia/test_observe.py": (
        "the texts of findings, asserted where they are found",
        frozenset({"module_utils/nvidia/findings.py"}),
    ),
    f"{UNIT}/module_utils/nvidia/test_capability.py": (
        "runs in a child process, with a library made for it",
        frozenset({"module_utils/nvidia/nvml.py"}),
    ),
    f"{UNIT}/module_utils/preflight/test_checks.py": (
        "parts of one check of a host, tested whole",
        frozenset(
            {
                "module_utils/preflight/endpoints.py",
                "module_utils/preflight/pending.py",
                "module_utils/preflight/server.py",
                "module_utils/preflight/wanted.py",
            }
        ),
    ),
    f"{UNIT}/modules/test_llama_server_exec.py": (
        "needs a process that becomes another program",
        frozenset({"module_utils/server/exec.py"}),
    ),
    f"{UNIT}/modules/test_llama_server_rollback.py": (
        "needs generations that were served",
        frozenset({"module_utils/server/rollback.py"}),
    ),
    f"{UNIT}/modules/test_llama_server_generations.py": (
        "needs two generations",
        frozenset({"module_utils/server/state/changes.py"}),
    ),
    f"{UNIT}/module_utils/server/status/test_info.py": (
        "a record without code of its own",
        frozenset({"module_utils/server/status/seen.py"}),
    ),
    "tests/unit/container/test_start.py": (
        "needs generations of a start",
        frozenset({"src/container/generations.py"}),
    ),
    "tests/image/test_image.py": (
        "needs root and another user",
        frozenset({"src/container/unprivileged.py"}),
    ),
}
