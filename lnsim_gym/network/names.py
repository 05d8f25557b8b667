"""Names of nodes: unique, and printable wherever a person or a terminal sees them.

Aliases are what strangers announce of themselves: they repeat, are empty, or hold control characters, marks that turn
the direction of text, and halves of characters. Names are made of them here; the aliases themselves stay data.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from typing import Final

__all__ = ["printable", "unique_names", "unprintable", "without_surrogates"]

LONGEST: Final = 66
"""Most characters of a name that is made of an alias: as many as a public key has digits."""
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS: Final = "\u200c\u200d"
"""Needed within words of some scripts and within emoji; they move nothing else."""


def unprintable(name: str) -> str | None:
    """Return the first character of a name that does harm to text or cannot be seen, None when there is none."""
    if name.isprintable():
        return None
    return next((character for character in name if _is_hidden(character)), None)


def without_surrogates(text: str) -> str:
    """Return a text whose halves of characters, which no file can hold, are replaced by U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def unique_names(aliases: Mapping[str, str]) -> dict[str, str]:
    """Name each node by its alias, or by its key when the alias is blank, shared, or the key of another node.

    Args:
        aliases: Alias of each node by its key.
    """
    shown = {key: printable(alias) for key, alias in aliases.items()}
    uses = Counter(map(_skeleton, shown.values()))
    names = {
        key: name if name and uses[_skeleton(name)] == 1 and (name == key or _skeleton(name) not in aliases) else key
        for key, name in shown.items()
    }
    return names if not any(map(unprintable, names.values())) and all(map(str.strip, names.values())) else _plain(names)


def _plain(names: Mapping[str, str]) -> dict[str, str]:
    """Number the nodes whose keys, which are no public keys then, cannot be shown either."""
    taken = set(names.values())
    plain: dict[str, str] = {}
    for index, (key, name) in enumerate(names.items()):
        fresh = name
        if unprintable(name) or not name.strip():
            fresh = f"node{index}"
            while fresh in taken:
                fresh += "_"
        taken.add(fresh)
        plain[key] = fresh
    return plain


def printable(alias: str) -> str:
    """Return an alias without what cannot be shown, each gap one space wide."""
    if not alias.isascii():
        alias = unicodedata.normalize("NFC", without_surrogates(alias))
    if not alias.isprintable():
        alias = "".join(" " if character.isspace() else character for character in alias)
        alias = "".join(character for character in alias if not _is_hidden(character))
    name = " ".join(alias.split())[:LONGEST].strip()
    return name if name.strip(_JOINERS) else ""


def _skeleton(name: str) -> str:
    """Return what two names that look alike have in common, as far as joiners go."""
    return name if name.isascii() else name.replace(_JOINERS[0], "").replace(_JOINERS[1], "")


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN and character not in _JOINERS
