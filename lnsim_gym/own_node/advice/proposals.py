"""Changes worth trying: some steps of each peer's price, and refills that can pay; or what an agent says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from lnsim_gym.agents.registry import make_agent
from lnsim_gym.episodes import Problem
from lnsim_gym.own_node.advice.board import Board, Held
from lnsim_gym.own_node.advice.changes import Change
from lnsim_gym.own_node.advice.guards import REALISED_SHARE
from lnsim_gym.own_node.advice.trials import first_decision

__all__ = ["ladder", "of_agent", "refills"]

_FACTORS: Final = (0.5, 0.8, 1.25, 2.0)
"""Steps of a price."""
_FIRST_PPM: Final = (25, 100, 400)
"""Prices to try on channels that cost next to nothing."""
_CHEAP_PPM: Final = 10
"""Fee rate up to which these are tried."""
_EMPTY: Final = 0.2
"""Share of the capacity up to which a channel is refilled, to a half."""
_FULL: Final = 0.6
"""Share of the capacity from which on a channel may be emptied, to a half."""
_LEAST_SAT: Final = 50_000
"""Refills of less are not worth their attempts."""


def ladder(board: Board, most_ppm: int) -> list[Change]:
    """Return steps of the fee rate of each peer whose channels are there, up and down.

    Args:
        board: The channels.
        most_ppm: Greatest fee rate to propose.
    """
    found: list[Change] = []
    for group in board.peers.values():
        if all(held.is_active for held in group):
            now_ppm = max(held.policy.fee_rate_ppm for held in group)
            steps = _FIRST_PPM if now_ppm <= _CHEAP_PPM else [round(now_ppm * factor) for factor in _FACTORS]
            prices = sorted({min(price, most_ppm) for price in steps} - {now_ppm})
            found += [board.repricing(group, {"fee_rate_ppm": price}) for price in prices]
    return found


def refills(board: Board, realised_ppm: Mapping[int, float | None]) -> list[Change]:
    """Return a refill for each channel that sells and is nearly empty, out of the fullest one of another peer.

    Args:
        board: The channels.
        realised_ppm: By short channel id, fees per million of what left over the channel.
    """
    return list(_refills(board, realised_ppm))


def _refills(board: Board, realised_ppm: Mapping[int, float | None]) -> Iterator[Change]:
    """Yield what ``refills`` returns."""
    for back in board.channels:
        price_ppm = realised_ppm.get(back.chan_id)
        if not back.is_active or back.local > _EMPTY or not price_ppm:
            continue
        sources = [one for one in board.channels if _may_leave(one, back)]
        if not sources:
            continue
        leave = max(sources, key=lambda one: one.local_sat - one.capacity_sat // 2)
        amount_sat = min(back.capacity_sat // 2 - back.local_sat, leave.local_sat - leave.capacity_sat // 2)
        limit_sat = int(REALISED_SHARE * price_ppm * amount_sat / 1e6)
        if amount_sat >= _LEAST_SAT and limit_sat >= 1:
            yield board.refill(leave, back, amount_sat, limit_sat)


def _may_leave(leave: Held, back: Held) -> bool:
    """Whether a refill of a channel may leave over another one."""
    return leave.is_active and leave.local >= _FULL and leave.peer_key != back.peer_key


def of_agent(name: str, problem: Problem, board: Board, seed: int) -> list[Change]:
    """Return what an agent would do on the node as it is now, as single changes.

    Args:
        name: Name of an agent, or its recipe file.
        problem: That of the node's environment, with the settings of the agent.
        board: The channels.
        seed: Seed of the agent's own draws.

    Raises:
        ConfigError: There is no such agent, or it cannot act there.
    """
    return board.changes(first_decision(make_agent(name, problem), seed), name)
