"""orcac completion"""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class, get_completion_class


class SpecArm(click.Path):
    """An argument SPEC or SPEC:ARM; the names of the arms are completed after the colon."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from orcac.errors import OrcacError
        from orcac.spec.load import load

        spec, colon, name = incomplete.rpartition(":")
        if not colon:
            return super().shell_complete(ctx, param, incomplete)
        try:
            arms = load(Path(spec)).arms
        except (OrcacError, OSError):  # a completion has no place for an error
            return []
        return [CompletionItem(f"{spec}:{arm}") for arm in arms if arm.startswith(name)]


class Bash(BashComplete):
    """Completion for bash, which splits words at colons and replaces the part after the last one."""

    _kept = 0  # characters before that part

    def get_completion_args(self) -> tuple[list[str], str]:
        args, last = super().get_completion_args()
        words: list[str] = []
        for word in [*args, last]:
            if words and (word.startswith(":") or words[-1].endswith(":")):
                words[-1] += word
            else:
                words.append(word)
        if words[-1] != last:
            self._kept = words[-1].rindex(":") + 1
        return words[:-1], words[-1]

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type},{item.value[self._kept :]}"


def prepare() -> None:
    """Make click complete for bash by `Bash`."""
    add_completion_class(Bash)


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
