"""orcac schema"""

from __future__ import annotations

import json

import click


@click.command("schema")
@click.option("--markdown", is_flag=True, help="Print the reference in Markdown, as in docs/spec.md.")
def command(markdown: bool) -> None:
    """Print the JSON Schema of a spec: keys, types, units, defaults, classes and descriptions.

    \b
    Example:
      orcac schema > specs/orcac.schema.json
    For completion and checks in an editor, begin a spec in the same folder with
      # yaml-language-server: $schema=orcac.schema.json
    """
    from orcac.spec import reference

    if markdown:
        click.echo(reference.render_markdown(), nl=False)
    else:
        click.echo(json.dumps(reference.build_json_schema(), indent=1, ensure_ascii=False))
