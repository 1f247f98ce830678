"""Sphinx: MyST pages, the Furo theme, and a reference that is written from the code."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import cast

import click
from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import inventories  # noqa: E402  likewise

from suno_video_async import __version__  # noqa: E402  likewise
from suno_video_async.cli.app import app  # noqa: E402  only now can it be found without an installation
from suno_video_async.cli.group import whole  # noqa: E402  likewise

project = "suno_video_async"
author = "The suno_video_async developers"
copyright = f"2026, {author}"
version = release = __version__

extensions = [
    *("myst_parser", "sphinx_copybutton"),
    *("sphinx.ext.autodoc", "sphinx.ext.intersphinx", "sphinx.ext.napoleon"),
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"
intersphinx_mapping = inventories.write(Path(__file__).parent / "_build" / "inventories")

# What a block prints is nothing to be copied.
copybutton_selector = "div:not(.highlight-output) > div.highlight > pre"

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

# In docstrings a name between single backquotes is code, and a link where it names something of ours.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_class_signature = "mixed"
add_module_names = False
python_use_unqualified_type_names = True
maximum_signature_line_length = 90
napoleon_numpy_docstring = False
napoleon_use_ivar = True
highlight_language = "none"


class CommandHelp(Directive):
    """Shows what `suno-video VERB --help` says; a verb of a verb is named after it."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return the help as a literal block."""
        path = self.arguments[0]
        command: click.Command = app
        for name in path.split():
            command = whole(cast("click.Group", command).commands[name])
        context = click.Context(command, info_name=f"suno-video {path}", max_content_width=90, terminal_width=90)
        return [nodes.literal_block("", command.get_help(context), language="none")]


_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_NAME = re.compile(r"[A-Za-z_][\w.]*")
_TWO_ATTRIBUTES = re.compile(r"^(\s+)(\w+), (\w+)(: .*)$")


def adapt_docstring(_: Sphinx, what: str, __: str, ___: object, ____: object, lines: list[str]) -> None:
    """Turn our docstrings into what Sphinx and Napoleon understand."""
    adapted = list[str]()
    for line in lines:
        literal = _CODE.sub(_link_or_literal, line)
        two = _TWO_ATTRIBUTES.match(literal)
        adapted += [two[1] + two[2] + two[4], two[1] + two[3] + two[4]] if two else [literal]
    if what in {"property", "data"}:
        # Napoleon would take what stands before a colon for the type.
        adapted[:1] = [line.replace(": ", " – ", 1) for line in adapted[:1]]
    lines[:] = adapted


def _link_or_literal(code: re.Match[str]) -> str:
    """Only a name can be a link; anything else between backquotes is code and nothing more."""
    return code[0] if _NAME.fullmatch(code[1]) else f"``{code[1]}``"


def adapt_signature(*event: object) -> tuple[str | None, object]:
    """Show an attrs factory as what it makes, and a function by its name."""
    signature, returns = event[-2:]
    if not isinstance(signature, str):
        return None, returns
    return signature.replace("NOTHING", "{}").replace("<built-in function time>", "time.time"), returns


def setup(sphinx: Sphinx) -> None:
    """Add the directive and the hooks, which come before Napoleon's."""
    sphinx.add_directive("command-help", CommandHelp)
    sphinx.connect("autodoc-process-docstring", adapt_docstring, priority=400)
    sphinx.connect("autodoc-process-signature", adapt_signature)
