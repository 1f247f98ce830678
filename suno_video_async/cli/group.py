"""Groups of verbs: listed in their order, and forgiving of a slip of the finger."""

from __future__ import annotations

from importlib import import_module
from typing import cast

import click


class Later(click.Command):
    """A command that is listed by its name and short help, and imported when it is used.

    Its module then imports what its options need, and its function what only its run needs.
    """

    def __init__(self, name: str, home: str, short_help: str) -> None:
        super().__init__(name, short_help=short_help)
        self._home = home

    def load(self) -> click.Command:
        """Return the command itself, from its home: `package.module:attribute`."""
        module, _, attribute = self._home.partition(":")
        return cast("click.Command", getattr(import_module(module), attribute))


def whole(command: click.Command) -> click.Command:
    """Return a command with its options, imported if need be."""
    return command.load() if isinstance(command, Later) else command


class Verbs(click.Group):
    """Lists its commands in the order in which they were added, and suggests one for a verb that is none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names."""
        del ctx
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the words begin with.

        Raises:
            click.UsageError: there is none; the nearest is named.

        """
        word = args[0] if args else ""
        if word and not word.startswith("-") and self.get_command(ctx, word) is None:
            from difflib import get_close_matches  # noqa: PLC0415  only a slip of the finger needs it

            near = get_close_matches(word.lower(), self.commands, n=2, cutoff=0.5)
            hint = f": did you mean {' or '.join(near)}?" if near else ""
            ctx.fail(f"No such command {word!r}{hint}")
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and whole(command), rest
