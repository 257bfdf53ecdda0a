# Copyright: (c) 2026, the llama-fleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llama_fleet.core.plugins.module_utils.background import job
from ansible_collections.llama_fleet.core.plugins.module_utils.stage import conclude

_OPTIONS = {name: {"type": "str", "default": ""} for name in ("build", "target", "known")}


def start(module: AnsibleModule) -> dict[str, typing.Any]:
    wanted = job.Wanted(**{name: module.params[name] for name in (*_OPTIONS, "arguments")})
    return {"changed": job.start(wanted, dry=module.check_mode), "build": wanted.build}


def main() -> None:
    conclude(
        AnsibleModule(
            argument_spec={**_OPTIONS, "arguments": {"type": "dict", "default": {}}}, supports_check_mode=True
        ),
        start,
    )


if __name__ == "__main__":
    main()
