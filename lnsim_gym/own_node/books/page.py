"""A node's books as a page of HTML that stands alone: nothing is loaded, and what strangers wrote is text."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import Final

import numpy as np

from lnsim_gym.network.names import printable
from lnsim_gym.own_node.books.profit import Books
from lnsim_gym.own_node.books.text import peer_name, sentences, table_of
from lnsim_gym.rendering.books import draw_books

__all__ = ["make_page"]

_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #8884; text-align: right; white-space: nowrap; }
th:first-child, td:first-child, th:last-child, td:last-child { text-align: left; }
"""


def make_page(books: Books) -> str:
    """Return the page.

    Raises:
        ImportError: Matplotlib is not installed.
    """
    title = f"{escape(printable(books.name))}: profit and loss"
    spans = (datetime.fromtimestamp(at / 1e9, UTC).strftime("%Y-%m-%d") for at in (books.begin_ns, books.end_ns))
    names = [peer_name(one) for one in books.channels]
    picture = draw_books(np.array(books.daily_msat) / 1000, names, [one.net_msat / 1000 for one in books.channels])
    said = "".join(f"<p>{escape(line)}</p>" for line in sentences(books))
    headings, channels = table_of(books)
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>" for cells in channels)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1><p>{' to '.join(spans)}</p>{said}{picture}"
        f'<h2>Channels</h2><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></html>"
    )
