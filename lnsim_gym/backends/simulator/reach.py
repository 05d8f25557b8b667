"""Whether any route at all can carry a payment, so that unroutable ones need not be attempted.

A sender does not know the balances of others, so it tries one route after another before it gives up, and most
payments that fail do so because nothing could have carried them. The balances show that at once.
"""

from __future__ import annotations

from typing import Any, Final

from lnsim_gym.backends.simulator.channels import can_add
from lnsim_gym.compiled import fused

__all__ = ["UNCOUNTED", "is_unroutable"]

UNCOUNTED: Final = -1
"""Stands for the attempts of a payment that was found to be unroutable."""


@fused
def is_unroutable(network: Any, balances: Any, work: Any, sender: Any, target: Any, amount: Any) -> Any:
    """Return whether no route from a sender to a target can carry an amount; False may be wrong, True never is.

    Looks forwards from the sender over channel ends that can carry the amount without any fees.
    """
    labels, queue = work.label, work.queue
    work.searches[0] += 1
    labels[sender].stamp = work.searches[0]
    queue[0].node = sender
    queued = 1
    while queued > 0:
        queued -= 1
        node = queue[queued].node
        for place in range(network.first_incoming[node], network.first_incoming[node + 1]):
            neighbour, direction = network.neighbour[place], network.incoming[place] ^ 1
            if labels[neighbour].stamp == work.searches[0] or amount > network.policy[direction].max_htlc_msat:
                continue
            if not can_add(network, balances, work.htlcs, direction, amount):
                continue
            if neighbour == target:
                return False
            labels[neighbour].stamp = work.searches[0]
            queue[queued].node = neighbour
            queued += 1
    return True
