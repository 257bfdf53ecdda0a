# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How releases are packed, found again, trusted and removed."""

from __future__ import annotations


class ModuleDocFragment:
    """The arguments of llama_cpp_release that are about releases as a whole, and not about building one."""

    DOCUMENTATION = r"""
options:
  state:
    description:
      - V(present) provides the release on the host.
      - V(packed) also writes it to O(pack_to) as one archive, C(<build>-<fingerprint>.tar.zst), with its manifest.
    type: str
    choices: [present, packed]
    default: present
  pack_to:
    description: Folder for packed releases. Served by any web server, it is a location for O(cache). Empty means
      C(packed) below O(root).
    type: path
    default: ""
  signing_key:
    description: Private key of SSH on the host, with which the archive is signed. Empty means no signature.
    type: path
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
  upstream_url:
    description: Where the project's own binaries are, below which a folder for each build tag is expected.
    type: str
    default: https://github.com/ggml-org/llama.cpp/releases/download
  keep:
    description: Releases to keep, the newest first. V(0) keeps all. Those that a generation of an instance refers to
      always stay.
    type: int
    default: 3
  instances:
    description: Folder below which llama_server keeps its instances.
    type: path
    default: /etc/llama-fleet
"""
