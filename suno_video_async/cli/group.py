"""Groups of verbs: listed in their order, and forgiving of a slip of the finger."""

from __future__ import annotations

from difflib import get_close_matches

import click


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
            near = get_close_matches(word.lower(), self.commands, n=2, cutoff=0.5)
            hint = f": did you mean {' or '.join(near)}?" if near else ""
            ctx.fail(f"No such command {word!r}{hint}")
        return super().resolve_command(ctx, args)
