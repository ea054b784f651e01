"""orcac schema"""

from __future__ import annotations

import json

import click

from orcac.spec.schema import json_schema


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of a spec: keys, types, defaults, what each means and its class.

    \b
    Example:
      orcac schema > orcac.schema.json
      and, as the first line of a spec, for editors:
      # yaml-language-server: $schema=../orcac.schema.json
    """
    click.echo(json.dumps(json_schema(), indent=1, ensure_ascii=False))
