"""How a changed policy spreads: LND's discovery/gossiper.go, one announcement after another.

The node that makes a change puts it into the batch of its next trickle tick (``networkHandler``), where it replaces an
earlier one of the same direction (``deDupedAnnouncements``). Each further hop waits for a tick of the node in between;
of these the oracle knows the number, from the hops between two nodes, and draws how long each takes. Receivers hold
each direction to a token bucket (``handleChanUpdate``, golang.org/x/time/rate); what they refused is told them again
once a day (``retransmitStaleAnns``). Time is in ms.
"""

from collections import deque
from dataclasses import dataclass
from fractions import Fraction

DAY_MS = 86_400_000
MASK = 2**64 - 1
GAMMA = 0x9E3779B97F4A7C15


def word(state):
    """SplitMix64's finalizer."""
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
    state = (state ^ state >> 27) * 0x94D049BB133111EB & MASK
    return state ^ state >> 31


def fork(state, part):
    return word((state ^ part) + GAMMA & MASK)


def uniform(state):
    return (word(state) >> 11) * 2.0**-53


@dataclass
class Announcement:
    """A change of one direction's policy."""

    number: int
    """Among all changes of the network, from 1."""
    policy: object
    out_ms: int | None
    """When it leaves the announcing node; None when another one took its place before."""


class TokenBucket:
    """``rate.Limiter``: full at first, one more token each interval."""

    def __init__(self, burst, interval_ms):
        self.burst, self.interval_ms = burst, interval_ms
        self.tokens, self.at_ms = Fraction(burst), 0

    def tokens_at(self, time_ms):
        return min(Fraction(self.burst), self.tokens + Fraction(time_ms - self.at_ms, self.interval_ms))

    def take(self, time_ms):
        self.tokens, self.at_ms = self.tokens_at(time_ms) - 1, time_ms


class OracleGossip:
    """What every node has heard of policies.

    Args:
        options: ``GossipOptions``.
        source: Sending node by direction.
        destination: Receiving node by direction.
        key: Where the episode's stream starts.
    """

    def __init__(self, options, source, destination, key=0):
        self.trickle_ms = 1000 * options.trickle_seconds
        self.sub_batch_ms = 1000 * options.sub_batch_seconds
        self.source, self.key = source, key
        self.peers = {node: set() for node in source}
        for one, other in zip(source, destination, strict=True):
            self.peers[one].add(other)
        self.buckets = {}
        self.limits = options.max_update_burst, 1000 * options.update_interval_seconds
        self.original = {}
        self.announced = {}
        """``announced[direction]``: its announcements, oldest first."""
        self.told = {}
        """Number of the latest change that a failure told, by node and direction."""
        self.count = 0

    def announce(self, direction, before, policy, now_ms):
        """A node replaces the policy of a direction; an equal one is a keep-alive, which nobody passes on."""
        if policy == before:
            return
        self.original.setdefault(direction, before)
        earlier = self.announced.setdefault(direction, [])
        bucket = self.buckets.setdefault(direction, TokenBucket(*self.limits))
        if earlier:
            if earlier[-1].out_ms > now_ms:
                earlier[-1].out_ms = None
            else:
                bucket.take(earlier[-1].out_ms)
        self.count += 1
        out_ms = self.next_tick(self.source[direction], now_ms)
        while bucket.tokens_at(out_ms) < 1:
            out_ms += DAY_MS
        earlier.append(Announcement(self.count, policy, out_ms))

    def next_tick(self, node, now_ms):
        phase = int(uniform(fork(fork(self.key, 1), node)) * self.trickle_ms)
        return now_ms + (phase - now_ms) % self.trickle_ms

    def hops(self, one, other):
        """Fewest channels between two nodes, or None."""
        seen, queue = {one: 0}, deque([one])
        while queue:
            node = queue.popleft()
            for peer in self.peers.get(node, set()) - seen.keys():
                seen[peer] = seen[node] + 1
                queue.append(peer)
        return seen.get(other)

    def has_heard(self, node, direction, announcement, now_ms):
        hops = self.hops(node, self.source[direction])
        if hops == 0 or self.told.get((node, direction), 0) >= announcement.number:
            return True
        if announcement.out_ms is None or hops is None:
            return False
        state = fork(fork(fork(self.key, 0), announcement.number), node)
        arrives_ms = announcement.out_ms + self.sub_batch_ms
        for _ in range(hops - 1):
            state = state + GAMMA & MASK
            arrives_ms += int(uniform(state) * self.trickle_ms)
        return arrives_ms <= now_ms

    def known(self, node, policies, now_ms):
        """Return the policies as a node knows them: of each direction the latest that it has heard of."""
        known = list(policies)
        for direction, announced in self.announced.items():
            heard = [one for one in announced if self.has_heard(node, direction, one, now_ms)]
            known[direction] = heard[-1].policy if heard else self.original[direction]
        return known

    def tell(self, node, direction):
        """``ApplyChannelUpdate``: a failure told a node the policy of a direction as it is."""
        if direction in self.announced:
            self.told[node, direction] = self.announced[direction][-1].number
