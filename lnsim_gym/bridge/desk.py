"""What a dashboard adds to the server of the bridge: web pages, and answers to what they ask besides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

__all__ = ["Desk", "Page", "Refusal"]


class Refusal(Exception):
    """Something asked for cannot be done; the text says why."""


@dataclass(frozen=True, slots=True)
class Page:
    """A file of the web page, as it is sent."""

    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = Callable[..., None]
"""Sends the asking client a message of a class, envelope included, from its own fields; from any thread."""


class Desk(Protocol):
    """Serves pages, and answers their messages. Called in the server's thread, which it must not hold up."""

    @property
    def asks(self) -> Mapping[str, type[msgspec.Struct]]:
        """Messages that it answers, by type."""

    def page(self, path: str) -> Page | None:
        """Return what lies under a path; None when nothing does."""

    def answer(self, message: Any, may_control: bool, answer: Answer) -> None:
        """Answer a message.

        Raises:
            Refusal: It cannot be answered.
        """
