"""The command line: one small file for each command, imported when it is called, so that `orcac --help` is instant.

Exit codes: 0 done; 1 a node failed (for `diff`: the sides differ; for `verify`: something is damaged); 2 the input is
wrong; 3 a pinned id moved; 4 a teacher is down or refuses; 5 the store is full, damaged or not writable; 130
interrupted.

Commands hold no logic: they call the other rooms and print. Nothing else may import this room.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

GROUPS = {
    "Design": {
        "init": "Lay out a new study: rules, profiles and a commented spec.",
        "compile": "Check specs and write the plan.",
        "plan": "Show the nodes, their state and the arms that share them.",
        "cost": "Price specs before they run: tokens, dollars, GPU hours, time.",
        "diff": "Compare two arms or specs: changes, nodes to remake, price.",
        "power": "Show the smallest difference that a spec could show, beside its price.",
        "pin": "Lock the ids of specs; compile then refuses to move them.",
        "profile": "Write a Snakemake profile of your own cluster.",
        "schema": "Print the JSON Schema of a spec, for editors.",
        "completion": "Print the script with which a shell completes commands.",
    },
    "Run": {
        "fetch": "Download what a run needs from a hub, for nodes without internet.",
        "run": "Compile, run with Snakemake, print the result table.",
        "eval": "Measure a model on benchmarks, without training one.",
        "make": "Make one node, as Snakemake does.",
        "batches": "List or cancel the requests sent through a Batch API.",
    },
    "Look": {
        "status": "Show the progress of a run.",
        "report": "Print the result table and the path of the report.",
        "view": "Show the report with every answer, and the datasets, in a browser.",
        "results": "Print the figures of all reports as one tidy table.",
        "explain": "Explain a node: its users, its id, its cost, its files.",
        "answers": "List, count, export or import recorded answers.",
    },
    "Share": {
        "push": "Send artifacts and answers to another store: a folder or a URL.",
        "pull": "Fetch artifacts and answers from another store, and check them.",
        "reproduce": "Run a study again from its archive, and compare the two.",
    },
    "Publish": {
        "export": "Write a student or a dataset as a folder with a card.",
        "delta": "Publish a student as its difference to its base; restore it.",
    },
    "Maintain": {
        "verify": "Check artifacts against their digests, and unmake damaged ones.",
        "gc": "List, or remove, artifacts that no given spec needs.",
    },
}
COMMANDS = tuple(name for group in GROUPS.values() for name in group)

# Errors that a path or a disk can cause in any command. Other errors of the system are faults of ours.
_ENVIRONMENT_ERRORS = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EIO, errno.ENOSPC,
    errno.EDQUOT,
}  # fmt: skip


class Commands(click.Group):
    """The group of all commands; names and one-line helps are in GROUPS, so that `--help` imports no command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"orcac.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that `args` name. Raises click.UsageError, with the nearest name, if it is unknown."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            name, near = args[0], difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            if name.lower().endswith((".yaml", ".yml")):
                hint = f" To run a spec, write: orcac run {name}"
            ctx.fail(f"No such command '{name}'.{hint}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the names that begin so, with their helps, and the options. No command is imported."""
        from click.shell_completion import CompletionItem

        helps = {name: help for commands in GROUPS.values() for name, help in commands.items()}
        names = [CompletionItem(name, help=help) for name, help in helps.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))  # one column for all groups
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), help) for name, help in commands.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="orcac", message="orcac %(version)s")
def cli() -> None:
    """Compile an experiment spec into a content-addressed Snakemake DAG, run it, and compare its arms.

    \b
    Example:
      orcac init study                      make a folder with everything that a study needs
      orcac run specs/tiny.yaml             run the whole experiment on this machine
      orcac diff specs/tiny.yaml            show what each arm changes and remakes
      orcac compile specs/tiny.yaml && snakemake --profile slurm

    \b
    Settings from the environment:
      ORCAC_STORE   the folder of artifacts and answers (store/ in the study)
      ORCAC_PLAN    the plan file (build/plan.json in the study)
      ORCAC_WARM    0 starts each job of a local run anew, instead of forking it from a warm process
      NO_COLOR      if set, print without colours

    The study is the nearest folder upwards from the spec, or from here, with an orcac.toml, a store or orcac's
    Snakefile; else it is the spec's folder.

    \b
    Exit codes:
      0  done
      1  a node failed; diff: they differ; verify: something is damaged
      2  the input is wrong
      3  a pinned id moved
      4  a teacher is down or refuses, or the budget is spent
      5  the store is full, damaged or not writable
      130  interrupted; run the same command again to continue
    """


def main() -> None:
    """Run the command line. An OrcacError becomes a message and its exit code, without a traceback."""
    from orcac.errors import OrcacError
    from orcac.extras import explain_missing_package

    if "_ORCAC_COMPLETE" in os.environ:  # a shell asks what a word may become
        from orcac.cli.completion import prepare

        prepare()
    try:
        with explain_missing_package("this command"):
            code = cli.main(standalone_mode=False, color=False if os.environ.get("NO_COLOR") else None)
    except OrcacError as error:
        from orcac.text import clean

        click.echo(f"orcac: {clean(str(error))}", err=True)
        sys.exit(error.exit_code)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("orcac: interrupted; run the same command again to continue", err=True)
        sys.exit(130)
    except SystemExit:
        if type(sys.stdout).__name__ == "PacifyFlushWrapper":  # click's mark of a pipe that the reader closed early
            sys.exit(0)  # the reader has all that it wanted
        raise
    except OSError as error:
        if error.errno not in _ENVIRONMENT_ERRORS:
            raise
        where = error.filename or "the output"
        click.echo(f"orcac: {where}: {error.strerror}\n  fix: repair that, or name another place", err=True)
        sys.exit(5 if error.errno in (errno.ENOSPC, errno.EDQUOT) else 2)
    sys.exit(code if isinstance(code, int) else 0)
