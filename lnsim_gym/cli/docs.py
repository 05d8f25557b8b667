"""The command that shows the documentation, which ships with the package."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from lnsim_gym.errors import ConfigError, MissingDependency

if TYPE_CHECKING:
    from http.server import ThreadingHTTPServer

__all__ = ["app", "serve_site"]

app = typer.Typer()

_HOST: Final = "127.0.0.1"
_PACKAGE: Final = Path(__file__).resolve().parents[1]


@app.command()
def docs(
    port: Annotated[
        int, typer.Option("--port", "-p", min=0, max=65_535, help="Port to listen on; 0 takes a free one.")
    ] = 0,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Open the documentation in a browser, until Ctrl-C; it needs no connection to anywhere.

    The pages are those of this very version. Only this machine can read them.
    """
    import webbrowser

    with serve_site(_site(), port) as server:
        address = f"http://{_HOST}:{server.server_port}/"
        typer.echo(f"documentation on {address}, Ctrl-C ends it", err=True)
        if browser:
            webbrowser.open(address)
        server.serve_forever()


def _site() -> Path:
    """Return the folder of the built pages.

    Raises:
        MissingDependency: They were not built when the package was installed.
    """
    site = _PACKAGE / "site"
    if not (site / "index.html").is_file():
        raise MissingDependency(
            f"expected the built pages in {site}, found none: run mkdocs build in a clone (pip install -e '.[docs]'), "
            f"or read the Markdown in {_PACKAGE / 'docs'}"
        )
    return site


def serve_site(folder: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of a folder of pages, on this machine only.

    Raises:
        ConfigError: The port is taken.
    """
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Pages(SimpleHTTPRequestHandler):
        """Sends files, without a word about each."""

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name is that of the base
            """Say nothing."""

    try:
        return ThreadingHTTPServer((_HOST, port), partial(Pages, directory=str(folder)))
    except OSError as problem:
        raise ConfigError(f"cannot listen on {_HOST}:{port} ({problem}): choose another --port") from None
