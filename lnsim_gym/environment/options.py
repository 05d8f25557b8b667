"""What environments are told besides their settings: a time limit, and the options of a reset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

import numpy as np

from lnsim_gym.arrays import Bool, Int64
from lnsim_gym.backends.base import ResetReport
from lnsim_gym.episodes import Episodes
from lnsim_gym.errors import ConfigError
from lnsim_gym.schema import whole_number

__all__ = ["StartOptions", "time_limit"]

_RESET_OPTIONS: Final = ("balances_msat", "episode")
"""Options of a reset that say how an episode starts."""
_NO_LIMIT: Final = -1
"""Time limit that stands for none in ``gym.make`` too."""


def time_limit(max_episode_steps: Any) -> int | None:
    """Return after how many steps an episode is truncated, or None where it never is (None or -1).

    Raises:
        ConfigError: It is no whole number of at least 1.
    """
    return None if max_episode_steps in (None, _NO_LIMIT) else whole_number("max_episode_steps", max_episode_steps, 1)


class StartOptions(NamedTuple):
    """How the next episode of each environment is to start, where that is not left to its seed."""

    balances_msat: Int64 | None
    """Start balances, shape (networks, channels, 2), -1 where they are not given; None when given to none."""
    episodes: tuple[int | None, ...]
    """Number of the episode of each network."""

    @classmethod
    def of(cls, options: Sequence[Mapping[str, Any]], episodes: Episodes, others: Sequence[str] = ()) -> Self:
        """Read the options of a reset.

        Args:
            options: Those of each network.
            episodes: Its runner.
            others: Names of other options that the environment knows.

        Raises:
            ConfigError: An option is unknown or impossible.
        """
        if len(options) != episodes.networks:
            raise ConfigError(f"expected reset options for {episodes.networks} environments, got {len(options)}")
        known = (*_RESET_OPTIONS, *others)
        for name in {name for given in options for name in given}:
            if name not in known:
                raise ConfigError(f"unknown reset option {name!r}: known are {', '.join(known)}")
        wanted = [given.get("episode") for given in options]
        numbers = tuple(None if one is None else whole_number("the reset option episode", one, 0) for one in wanted)
        starts = [given.get("balances_msat") for given in options]
        if all(start is None for start in starts):
            return cls(None, numbers)
        balances_msat = np.full((len(starts), len(episodes.problem.topology.channels), 2), -1, np.int64)
        for network, start in enumerate(starts):
            if start is not None:
                balances_msat[network] = episodes.topology(network).check_balances_msat(start)
        return cls(balances_msat, numbers)

    def begin(self, episodes: Episodes, which: Bool) -> ResetReport:
        """Start the next episodes of the chosen networks; see ``Episodes.begin``."""
        for network in np.flatnonzero(which).tolist():
            number = self.episodes[network]
            if number is not None:
                episodes.episodes[network] = number - 1
        return episodes.begin(which, self.balances_msat)
