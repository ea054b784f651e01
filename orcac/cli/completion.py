"""orcac completion"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script that lets SHELL complete commands, options and files.

    \b
    Example:
      eval "$(orcac completion bash)"      in ~/.bashrc
      eval "$(orcac completion zsh)"       in ~/.zshrc, after compinit
      orcac completion fish > ~/.config/fish/completions/orcac.fish
    """
    from orcac.cli import cli

    completion = get_completion_class(shell)
    assert completion is not None
    click.echo(completion(cli, {}, "orcac", "_ORCAC_COMPLETE").source())
