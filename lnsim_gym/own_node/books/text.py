"""A node's books in words and as rows of text, for a terminal and for a page."""

from __future__ import annotations

from typing import Final

from lnsim_gym.own_node.books.profit import Books, ChannelBooks
from lnsim_gym.own_node.naming import peer_called, short_channel_id

__all__ = ["COLUMNS", "peer_name", "sentences", "table_of"]

COLUMNS: Final = (
    "peer",
    "channel",
    "local",
    "out",
    "earned",
    "ppm",
    "sourced",
    "refilled",
    "at ppm",
    "sold at ppm",
    "unsold",
    "chain",
    "net",
    "state",
)
"""Headings of the table of channels; amounts in sat."""


def peer_name(channel: ChannelBooks) -> str:
    """Return how a channel is called: its peer in printable characters, else its short channel id."""
    return peer_called(channel.peer, 32) or short_channel_id(channel.chan_id)


def table_of(books: Books) -> tuple[list[str], list[list[str]]]:
    """Return headings out of ``COLUMNS`` and a row for each channel, as text, without columns that say nothing."""
    rows = [_cells(channel) for channel in books.channels]
    told = [place for place, _ in enumerate(COLUMNS) if any(row[place] for row in rows)]
    return [COLUMNS[place] for place in told], [[row[place] for place in told] for row in rows]


def _cells(channel: ChannelBooks) -> list[str]:
    """Return a channel's row, as text under ``COLUMNS``."""
    share = f"{channel.local_sat / channel.capacity_sat:.0%}" if channel.capacity_sat else ""
    state = f"{channel.state} {channel.idle_days:.0f} d" if channel.state and channel.idle_days else channel.state
    return [
        peer_name(channel),
        short_channel_id(channel.chan_id),
        share,
        _sat(channel.out_msat),
        _sat(channel.earned_msat),
        _rate(channel.earned_ppm),
        _sat(channel.sourced_msat),
        _sat(channel.refilled_msat),
        _rate(channel.refill_ppm),
        _rate(channel.realised_ppm),
        _sat(channel.unsold_msat),
        f"{channel.chain_sat:,}" if channel.chain_sat else "",
        f"{channel.net_msat / 1000:,.0f}",
        state,
    ]


def sentences(books: Books) -> list[str]:
    """Return what matters most of some books, in words."""
    net = books.net_msat / 1000
    earned, refills = books.earned_msat / 1000, books.refill_fee_msat / 1000
    costs = f"{refills:,.0f} paid for refills, {books.chain_sat:,} for transactions"
    daily = f"net {net:+,.0f} sat, {net / books.days:+,.1f} a day."
    lines = [f"{books.days:.1f} days, amounts in sat: {earned:,.0f} sat earned, {costs}: {daily}"]
    if books.yearly is not None:
        lines.append(f"That is {books.yearly:+.2%} a year of the {books.capital_sat:,} sat that it holds.")
    sold, cost = (sum(getattr(one, name) for one in books.channels) for name in ("sold_fee_msat", "sold_cost_msat"))
    if sold or cost:
        verdict = "more" if sold > cost else "not more"
        brought = f"and brought {sold / 1000:,.0f}, {verdict} than they had cost."
        lines.append(f"Refills that were sold had cost {cost / 1000:,.0f} sat {brought}")
    quiet = [one for one in books.channels if one.state in ("dead", "idle")]
    if quiet:
        held = sum(one.local_sat for one in quiet)
        dead = sum(one.state == "dead" for one in quiet)
        lines.append(
            f"{len(quiet)} channels without a forward for a week, {dead} of them for a month: {held:,} sat rest there."
        )
    if "payments" in books.unknown:
        lines.append("Refills are not known: import `lncli listpayments` with --payments.")
    if "chain" in books.unknown:
        lines.append("Fees of transactions are not known: import `lncli listchaintxns` with --chain.")
    return lines


def _sat(amount_msat: int) -> str:
    """Return an amount in sat; nothing for 0."""
    return f"{amount_msat / 1000:,.0f}" if amount_msat else ""


def _rate(ppm: float | None) -> str:
    """Return a rate in ppm; nothing where there is none."""
    return "" if ppm is None else f"{ppm:,.0f}"
