"""The files of the page, and the headers that keep everything else out of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from lnsim_gym.bridge.desk import Page

__all__ = ["STATIC", "find_page"]

STATIC: Final = Path(__file__).with_name("static")
"""Where the files lie."""
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def find_page(path: str) -> Page | None:
    """Return the file under a path of the address; None when there is none."""
    return _pages().get("/index.html" if path == "/" else path)


@cache
def _pages() -> dict[str, Page]:
    """Return every file of the page by its path."""
    return {
        f"/{file.relative_to(STATIC).as_posix()}": Page(file.read_bytes(), _TYPES[file.suffix], _HEADERS)
        for file in sorted(STATIC.rglob("*"))
        if file.suffix in _TYPES
    }
