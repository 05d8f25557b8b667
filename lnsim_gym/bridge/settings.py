"""Settings of the bridge, and who may talk to it."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from lnsim_gym.errors import ConfigError
from lnsim_gym.paths import expanded
from lnsim_gym.schema import convert

__all__ = ["BridgeSettings", "Gate", "is_loopback"]

DEFAULT_PORT: Final = 6789


class BridgeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every setting of the bridge."""

    host: str = "127.0.0.1"
    """Address to listen on; one beyond loopback needs ``token_file``."""
    port: int = DEFAULT_PORT
    """Port to listen on; 0 lets the system choose."""
    token_file: str | None = None
    """File that holds the token clients must show; made, for its owner only, when it is missing."""
    origins: tuple[str, ...] = ()
    """Origins of web pages that may connect, besides those on this machine, as in ``https://example.org``."""
    max_clients: int = 128
    """Clients at once."""
    max_message_bytes: int = 65_536
    """Largest message a client may send."""
    messages_per_second: float = 100.0
    """Messages a client may send per second, on average; twice as many in a burst."""
    queue_messages: int = 200_000
    """Published messages that wait for a slow client at most; then its oldest are dropped."""
    queue_bytes: int = 64 * 2**20
    """Bytes of published messages that wait for a slow client at most."""
    total_bytes: int = 256 * 2**20
    """Bytes that wait for all clients together at most, what waits for several counted once; beyond it, those lose
    their oldest messages that most waits for."""
    history: int = 100
    """Transactions told to a new client."""
    suggestion_expiry_s: float = 30.0
    """Seconds after which a queued suggestion is refused."""
    ping_interval_s: float = 20.0
    """Seconds between two pings; a client that neither answers, speaks nor reads on for thrice as long is removed."""
    lens: str | None = None
    """Base address to which records are also posted, as in ``http://127.0.0.1:5050``."""

    def __post_init__(self) -> None:
        """Refuse numbers out of range, and an open door."""
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"bridge: port must lie in 0..65535, got {self.port}")
        positive = (
            "max_clients",
            "max_message_bytes",
            "messages_per_second",
            "queue_messages",
            "queue_bytes",
            "total_bytes",
            "history",
            "suggestion_expiry_s",
            "ping_interval_s",
        )
        for name in positive:
            if not getattr(self, name) > 0:
                raise ConfigError(f"bridge: {name} must be above 0, got {getattr(self, name)}")
        if not is_loopback(self.host) and self.token_file is None:
            raise ConfigError(
                f"bridge: host {self.host!r} can be reached from outside: set token_file, or use 127.0.0.1"
            )

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> BridgeSettings:
        """Build settings from plain data.

        Raises:
            ConfigError: A setting is unknown, of the wrong type or out of range.
        """
        return convert(settings, cls, "the bridge")

    def read_token(self) -> str | None:
        """Return the token, making its file when there is none; None when no token is asked for.

        Raises:
            ConfigError: The file cannot be read or made, others can read it, or it is empty.
        """
        if self.token_file is None:
            return None
        path = expanded(self.token_file)
        try:
            if not path.exists():
                path.touch(mode=0o600, exist_ok=False)
                path.write_text(secrets.token_urlsafe(32) + "\n", encoding="ascii")
            token = path.read_text(encoding="utf-8").strip()
            if path.stat().st_mode & 0o077:
                raise ConfigError(f"expected a token file that only its owner can read: chmod 600 {path}")
        except OSError as problem:
            raise ConfigError(f"expected to read or make the token file {path}, got {problem.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"expected a token as text in {path}: delete the file to have one made") from None
        if not token:
            raise ConfigError(f"expected a token in {path}, found nothing: delete the file to have one made")
        return token


def is_loopback(host: str) -> bool:
    """Whether an address or name stays on this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class Gate:
    """Decides whether a request may come in.

    Args:
        settings: Settings of the bridge.
    """

    def __init__(self, settings: BridgeSettings) -> None:
        self._origins = {origin.rstrip("/").lower() for origin in settings.origins}
        self._local = is_loopback(settings.host)
        self._token = settings.read_token()

    def refusal(self, path: str, headers: Mapping[str, str], public: bool = False) -> tuple[int, str] | None:
        """Return an HTTP status and the reason when a request must stay outside, None when it may come in.

        Args:
            path: Path of the request with its query, which may hold the token.
            headers: Headers of the request.
            public: Whether it asks for what holds no data, and so needs no token.
        """
        origin = headers.get("Origin")
        if origin is not None and not self._knows_origin(origin):
            return 403, "this origin may not connect: allow it with the setting origins\n"
        if self._local and not is_loopback(_hostname(f"//{headers.get('Host', '')}")):
            # A page of another site whose name was pointed at this machine would send that name.
            return 403, "expected to be called by a loopback address\n"
        if self._token is not None and not public and not self._knows_token(path, headers.get("Authorization", "")):
            return 401, "expected the token, as 'Authorization: Bearer TOKEN' or '?token=TOKEN'\n"
        return None

    def control_refusal(self, address: str, headers: Mapping[str, str]) -> str:
        """Return why a client that was let in may not control the episodes; empty when it may.

        Args:
            address: Address that it calls from.
            headers: Headers of its opening handshake.
        """
        if not is_loopback(address):
            return "the episodes can be controlled from the machine that plays them only"
        origin = headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != headers.get("Host", "").lower():
            return "the episodes can be controlled from the bridge's own page only, and from programs"
        return ""

    def _knows_origin(self, origin: str) -> bool:
        """Whether web pages of an origin may connect."""
        return origin.lower() in self._origins or is_loopback(_hostname(origin))

    def _knows_token(self, path: str, authorization: str) -> bool:
        """Whether a request shows the token."""
        scheme, _, shown = authorization.partition(" ")
        given = shown.strip() if scheme.lower() == "bearer" else parse_qs(urlsplit(path).query).get("token", [""])[0]
        return hmac.compare_digest(given.encode(), (self._token or "").encode())


def _hostname(address: str) -> str:
    """Return the host of an address, empty when it has none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
