# Copyright: (c) 2026, the llama-fleet authors
# SPDX-License-Identifier: MIT
"""Write all generated files: ``python docs/make_reference.py``.

The list of the runtimes' classes comes from the table of runtimes, the roles' files from the modules, and
docs/reference.md from the roles.

In a clone it needs ``src`` and ``collections`` on the PYTHONPATH.
"""

import pathlib
import runpy

import jinja2

from llama_fleet import settings
from llama_fleet.cli import options

DOCS = pathlib.Path(__file__).resolve().parent


def render() -> str:
    """Return the text of the reference from the current specs."""
    catalogue = settings.load()
    roles = [
        (role, [variable for variable in catalogue.variables.values() if variable.role == role])
        for role in catalogue.roles
    ]
    loader = jinja2.FileSystemLoader(DOCS)
    environment = jinja2.Environment(
        loader=loader, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False
    )
    environment.filters.update(shown=_shown, cell=lambda text: text.replace("|", "\\|").replace("<", "&lt;"))
    return (
        environment.get_template("reference.md.j2").render(
            roles=roles, option=lambda variable: _option(variable, catalogue)
        )
        + "\n"
    )


def _option(variable: settings.Variable, catalogue: settings.Catalogue) -> str:
    if variable.wired:
        return (
            "" if variable.name.endswith(settings.OF_PLAYS) or variable.name == settings.SEVERAL else "set by the play"
        )
    return "`MODEL`" if variable.name == options.MODEL else f"`--{options.option_name(variable, catalogue)}`"


def _shown(default: object) -> str:
    if default in ("", [], {}, None):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


if __name__ == "__main__":
    # The classes first: the modules' documentation, which the roles' files are made from, is made from them.
    for script in ("runtime_classes.py", "role_files.py"):
        for path, text in runpy.run_path(str(DOCS / script))["render_all"]().items():
            path.write_text(text, encoding="utf-8")
    (DOCS / "reference.md").write_text(render(), encoding="utf-8")
