"""The blocks of code in the README and in the pages of the documentation.

A comment before a block marks what is done with it: ``<!-- slow -->`` runs it on fewer seeds, and only where all tests
run; others name blocks that a test of their own runs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

CHECKOUT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = CHECKOUT / "lnsim_gym" / "docs"
README: Final = CHECKOUT / "README.md"


class Block(NamedTuple):
    """A block of code."""

    page: str
    """Path of its page in the checkout."""
    mark: str
    """What its comment says; empty when it has none."""
    language: str
    code: str

    @property
    def id(self) -> str:
        """Name of the test that runs it."""
        return f"{self.page}: {self.code.strip().splitlines()[0][:40]}"


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page."""
    found = re.findall(r"(?:<!-- ([a-z ]+) -->\n)?```(\w+)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [Block(str(page.relative_to(CHECKOUT)), *one) for one in found]


ALL: Final = [block for page in (README, *sorted(PAGES.rglob("*.md"))) for block in blocks_of(page)]
"""Those of all pages."""


def marked(mark: str) -> Block:
    """Return the first block with a mark."""
    return next(block for block in ALL if block.mark == mark)
