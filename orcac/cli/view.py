"""orcac view"""

from __future__ import annotations

import functools
import http.server
import shutil
import webbrowser
from pathlib import Path
from typing import Any

import click

from orcac.cli.common import compile_specs
from orcac.cli.pages import Pages, following
from orcac.errors import InputError
from orcac.study import find_study

HOST = "127.0.0.1"


@click.command("view")
@click.argument("spec", type=click.Path())
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="Write the pages to this new folder.")
@click.option("--rows", type=click.IntRange(0), default=5000, help="Rows of each dataset, kept and dropped (5000).")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Serve on this port; default: a free one.")
@click.option("--no-serve", is_flag=True, help="Write the pages only; a browser opens them from the disk.")
@click.option("--browser", is_flag=True, help="Open the page in a browser.")
def command(spec: str, out: Path | None, rows: int, port: int, no_serve: bool, browser: bool) -> None:
    """Show the report of SPEC with every item and answer, and the rows of its datasets, also while it runs.

    The pages are made from the artifacts and the recorded answers, in build/view/, and served on this machine alone
    until Ctrl-C. While they are served, they follow the study: they are made anew when a node is finished or an answer
    recorded, and an open page shows them.

    \b
    Example:
      orcac view specs/tiny.yaml
      orcac view specs/tiny.yaml --no-serve --out pages
    """
    plan, _ = compile_specs((spec,))
    study = find_study((spec,))
    (experiment,) = plan.experiments.values()
    folder = out or study.plan.parent / "view" / experiment.name
    if out is None and folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)  # the pages of an earlier call
    pages = Pages(plan, study.store, experiment, rows, folder, is_served=not no_serve)
    pages.make()
    page_path = (folder / "index.html").absolute()
    if no_serve:
        click.echo(f"view    {folder / 'index.html'}\n  open  {page_path.as_uri()}")
        if browser:
            webbrowser.open(page_path.as_uri())
        return
    with _listen(folder, port) as server, following(pages):
        address = f"http://{HOST}:{server.server_port}/"
        click.echo(f"view    {folder / 'index.html'}\n  open  {address}\n  stop  Ctrl-C")
        if browser:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("")


def _listen(folder: Path, port: int) -> http.server.ThreadingHTTPServer:
    """Return a server of the files in a folder, on loopback. Raises InputError if the port is taken."""
    handler = functools.partial(PageHandler, directory=str(folder))
    try:
        return http.server.ThreadingHTTPServer((HOST, port), handler)
    except OSError as error:
        raise InputError(f"port {port}: {error.strerror}", fix="name another port, or leave --port out") from None


class PageHandler(http.server.SimpleHTTPRequestHandler):
    """A server of the files of one folder, to pages of its own address alone.

    Another site could name this address by a host of its own, so the host of a request is checked; and it could load a
    file as its script, which the headers forbid.
    """

    def do_GET(self) -> None:
        if self._is_allowed():
            super().do_GET()

    def do_HEAD(self) -> None:
        if self._is_allowed():
            super().do_HEAD()

    def _is_allowed(self) -> bool:
        assert isinstance(self.server, http.server.HTTPServer)
        port = self.server.server_port
        if self.headers.get("Host", "") in (f"{HOST}:{port}", f"localhost:{port}"):
            return True
        self.send_error(403, "this server answers to its own address alone")
        return False

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def list_directory(self, path: Any) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the terminal shows the address."""
