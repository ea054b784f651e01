"""The command line: one small file a command, loaded when it is asked for, so that `orcac --help` is instant.

Exit codes: 0 done; 1 a node failed (for `diff`: the sides differ; for `verify`: something is damaged); 2 the input is
wrong; 3 a pinned id moved; 4 a teacher is down or refuses; 5 the store is full, damaged or not writable; 130
interrupted.
"""

from __future__ import annotations

import errno
import importlib
import sys

import click

COMMANDS = (
    "init", "compile", "plan", "cost", "diff", "pin", "run", "make", "status", "report", "explain", "answers", "verify",
    "gc", "batches", "schema",
)  # fmt: skip
HELP = {
    "init": "Lay out a new study: rules, profiles and a commented spec.",
    "compile": "Check specs and write the plan.",
    "plan": "Show the nodes, their state and which arms share them.",
    "diff": "Show what differs between two arms or specs, and what that remakes.",
    "pin": "Write the ids of a spec into its lock, which compile then holds to.",
    "cost": "Show what it takes before anything runs: tokens, dollars, GPU hours, time.",
    "run": "Compile, run with Snakemake, print the result table.",
    "make": "Make one node, as Snakemake does.",
    "status": "Show how far a run is.",
    "explain": "Say why a node exists, what went into its id, what it cost.",
    "report": "Print the result table and where the report is.",
    "answers": "Look into the ledger of answers: list, count, export, import.",
    "verify": "Find damaged artifacts by their digests, and unmake them.",
    "gc": "Show, or remove, what no given spec reaches in the store.",
    "batches": "List or cancel what is asked through a Batch API.",
    "schema": "Print the JSON Schema of a spec, for editors.",
}


# What a path or a disk can do to any command, wherever it looks; the rest of the system's errors are faults of ours.
_SURROUNDINGS = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EIO, errno.ENOSPC,
    errno.EDQUOT,
}  # fmt: skip


class Commands(click.Group):
    """Names and one-line helps are here; a command's module is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"orcac.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, HELP[name]) for name in COMMANDS])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="orcac", message="orcac %(version)s")
def cli() -> None:
    """Compile an experiment spec into a content-addressed Snakemake DAG, run it, read off what each part was worth.

    \b
    Example:
      orcac init study                      a folder with all that a study needs
      orcac run specs/tiny.yaml             the whole experiment, on this machine
      orcac diff specs/tiny.yaml            what each arm changes, and what that remakes
      orcac compile specs/tiny.yaml && snakemake --profile slurm

    \b
    Settings from the environment:
      ORCAC_STORE   where artifacts live (store)
      ORCAC_PLAN    where the plan is (build/plan.json)

    \b
    Exit codes:
      0  done
      1  a node failed; diff: they differ; verify: something is damaged
      2  the input is wrong
      3  a pinned id moved
      4  a teacher is down or refuses, or the budget is spent
      5  the store is full, damaged or not writable
      130  interrupted; run the same command again to go on
    """


def main() -> None:
    """Run the command line; errors of ours become a message and an exit code, never a traceback."""
    from orcac.errors import OrcacError

    try:
        code = cli.main(standalone_mode=False)
    except OrcacError as error:
        from orcac.cli.common import plain

        click.echo(f"orcac: {plain(str(error))}", err=True)
        sys.exit(error.exit_code)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("orcac: interrupted; run the same command again to go on", err=True)
        sys.exit(130)
    except SystemExit:
        if type(sys.stdout).__name__ == "PacifyFlushWrapper":  # so click marks a pipe that was closed early
            sys.exit(0)  # whoever reads has what it wants
        raise
    except OSError as error:
        if error.errno not in _SURROUNDINGS:
            raise
        where = error.filename or "the output"
        click.echo(f"orcac: {where}: {error.strerror}\n  fix: mend that, or name another place", err=True)
        sys.exit(5 if error.errno in (errno.ENOSPC, errno.EDQUOT) else 2)
    sys.exit(code if isinstance(code, int) else 0)
