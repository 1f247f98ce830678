"""`suno-video completion`: the script that lets a shell complete verbs, options and files."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from suno_video_async.cli.exits import Exit, UsageProblem

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion",
    epilog='\b\nExamples:\n  eval "$(suno-video completion bash)"       in ~/.bashrc\n'
    '  eval "$(suno-video completion zsh)"        in ~/.zshrc\n'
    "  suno-video completion fish > ~/.config/fish/completions/suno-video.fish",
)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion_command(context: click.Context, *, shell: str) -> int:
    """Print the script that completes suno-video's verbs, options and files in a SHELL.

    Bash needs version 4.4 or newer.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageProblem(f"the installed click has no completion for {shell}: pip install -U click")
    root = context.find_root()
    name = root.info_name or "suno-video"
    variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
    click.echo(kind(root.command, {}, name, variable).source())
    return Exit.DONE
