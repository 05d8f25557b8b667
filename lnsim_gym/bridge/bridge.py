"""The bridge of one environment: what its thread calls, and nothing that waits for a client.

Agent, wrapper and bridge follow one protocol about suggestions, all on the thread that steps the environment:

1. The agent opens the queue once (``suggestions.open``), and calls ``take`` before each step. What it takes is *under
   way*; what was under way before is answered ("another was taken").
2. The wrapper calls ``stepping`` when the step begins. From then on the amount may have been sent.
3. The wrapper calls ``stepped`` when the step was made. What is under way is answered with what became of it:
   "applied", "refused" or "failed", and "refused" when the agent made another step than the suggested one.

A step that never ends leaves out 3: the suggestion is answered by whatever comes next, ``take``, ``began``, ``ended``
with a lost backend, or ``close``. The answer is "refused" before 2, and "failed" after it, because then it is not
known whether anything was sent. Every suggestion is answered exactly once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from lnsim_gym.backends.interventions import Rebalance
from lnsim_gym.bridge.activity import rebalance_status
from lnsim_gym.bridge.clock import now
from lnsim_gym.bridge.controls import Controls
from lnsim_gym.bridge.description import Place
from lnsim_gym.bridge.desk import Desk
from lnsim_gym.bridge.encoder import Encoder, StepResult
from lnsim_gym.bridge.frames import Chunk
from lnsim_gym.bridge.messages import Acknowledgement, EpisodeEndData, RequestData
from lnsim_gym.bridge.names import WireNames
from lnsim_gym.bridge.push import LensPusher
from lnsim_gym.bridge.server import BridgeServer, ServerCounts
from lnsim_gym.bridge.settings import BridgeSettings
from lnsim_gym.bridge.state import Moment, RecentSteps
from lnsim_gym.bridge.suggestions import Suggestion, SuggestionQueue, is_action
from lnsim_gym.environment.recording import step_events
from lnsim_gym.environment.single import LightningNetEnv
from lnsim_gym.episodes import Problem
from lnsim_gym.tasks.operator import OperatorTask

__all__ = ["Bridge"]

GOODBYE_S: Final = 2.0
"""Longest wait for clients to take what was published before the bridge is closed."""


class Bridge:
    """Publishes the episodes of an environment and takes suggestions for it.

    Nothing is built while no client listens. Whatever becomes of the server, the environment goes on.

    Args:
        network: The innermost environment.
        settings: Settings of the bridge.

    Raises:
        ConfigError: The address cannot be listened on.
    """

    def __init__(self, network: LightningNetEnv, settings: BridgeSettings) -> None:
        self.settings = settings
        self.paused = False
        """Set it to stop publishing for a while; clients stay connected and are answered."""
        self._network = network
        self._names = WireNames(network.topology)
        self._state = self._make_state()
        self.suggestions = SuggestionQueue(settings.suggestion_expiry_s, self._send_answer)
        """Suggestions that wait for an agent to take them."""
        self._encoder = Encoder(self._names)
        spec = network.spec
        played = Place(spec.id if spec else "", network.config.backend, 0, -1, 0, network.problem.task.watched)
        self._server = BridgeServer(settings, self._names, self._state, self.suggestions, played)
        self._pusher = LensPusher(settings.lens) if settings.lens else None
        self._encoder.keep_records = self._pusher is not None
        self._under_way: Suggestion | None = None
        self._stepping = False
        self._topology_before = network.topology
        self._server.start()
        if self._pusher:
            self._pusher.start()

    @property
    def port(self) -> int:
        """Port listened on."""
        return self._server.port

    @property
    def problem(self) -> Problem:
        """The problem of the environment."""
        return self._network.problem

    @property
    def names(self) -> WireNames:
        """The names of the network on the wire."""
        return self._names

    @property
    def listening(self) -> bool:
        """Whether a client would receive a message: a client, or Lightning Lens over HTTP."""
        return self.has_audience or (self._pusher is not None and not self.paused)

    @property
    def has_audience(self) -> bool:
        """Whether any client would receive a message."""
        return not self.paused and self._server.audience > 0

    @property
    def audience(self) -> int:
        """How many clients there are."""
        return self._server.audience

    @property
    def seq(self) -> int:
        """Number of the last message of the episodes."""
        return self._encoder.seq

    def drain(self, patience_s: float = 10.0) -> bool:
        """Wait until every client has what was published; False when one did not within the patience."""
        return self._server.drain(patience_s)

    def counts(self) -> ServerCounts:
        """Return how many clients there are, and how many messages were sent and dropped."""
        return self._server.counts()

    @property
    def pusher(self) -> LensPusher | None:
        """What posts records over HTTP, when asked to."""
        return self._pusher

    def take_controls(self, controls: Controls) -> None:
        """Let clients on this machine control how the episodes are played."""
        self._server.controls = controls
        controls.on_change = self._server.tell_controls

    def add_desk(self, desk: Desk) -> None:
        """Serve web pages at the same address, and answer what they ask besides."""
        self._server.desk = desk

    def complain(self, client: int | None, reason: str) -> None:
        """Tell a client that what it asked for cannot be done."""
        if client is not None:
            self._server.send_error(client, reason)

    def close(self) -> None:
        """Refuse what waits, let clients take what was published, and stop; harmless when closed already."""
        self._drop_suggestions("the stream ended")
        self._server.drain(GOODBYE_S)
        self._server.stop()
        if self._pusher:
            self._pusher.stop()

    def began(self, observation: Any, info: dict[str, Any]) -> None:
        """Publish that an episode began."""
        self._drop_suggestions("a new episode began")
        self._learn_public_keys()
        balances_msat = self._network.balances_msat()
        moment = Moment(
            self._encoder.seq,
            info["episode_number"],
            0,
            info["seed"],
            lambda: (None, None, balances_msat),
            now(),
            self._network.topology,
        )
        self._note(moment, lambda: self._encoder.reset(balances_msat, observation, info, self.suggestions.is_open))

    def stepping(self) -> None:
        """Note that a step begins, with what was taken for it if anything was."""
        self._stepping = True
        self._topology_before = self._network.topology

    def stepped(self, action: Any, result: tuple[Any, Any, bool, bool, dict[str, Any]]) -> None:
        """Publish that a step was made, and answer the suggestion that it came from.

        Args:
            action: As given to ``step``.
            result: What ``step`` returned.
        """
        before = self._state.moment
        seq, episode, steps, seed, _, timestamp, _ = before
        kept = self._network.keep_step()
        topology_before = self._topology_before

        def encode() -> Chunk:
            event = step_events(
                self._network,
                kept(),
                episode=episode,
                step=steps,
                seed=seed,
                action=action,
                before=topology_before,
                before_msat=before.balances_msat,
                timestamp=datetime.now(UTC),
            )
            return self._encoder.step(event, StepResult(*result), self._server.wants("activity"))

        self._note(Moment(seq, episode, steps + 1, seed, kept, timestamp, self._network.topology), encode)
        if self._under_way is not None:
            self._settle(action)

    def ended(self, data: EpisodeEndData) -> None:
        """Publish that an episode ended."""
        self._note(self._state.moment, lambda: self._encoder.ended(data))
        if data.backend_error:
            self._give_up(data.backend_error)

    def request_suggestions(self, deadline_s: float) -> bool:
        """Ask the clients for suggestions; False when there is no client to ask."""
        if not self.has_audience:
            return False
        moment = self._state.moment
        data = RequestData(episode=moment.episode, step=moment.steps, deadline_s=deadline_s)
        self._note(moment, lambda: self._encoder.request(data))
        return True

    def take(self) -> Suggestion | None:
        """Take the best suggestion for the next step, whose outcome will be reported to its sender."""
        self._give_up("another was taken")
        self._stepping = False
        self._under_way = self.suggestions.take()
        return self._under_way

    def _drop_suggestions(self, why: str) -> None:
        """Refuse what waits, and give up what was taken for a step that was not made."""
        self._give_up(why)
        self.suggestions.clear(why)

    def _give_up(self, why: str) -> None:
        """Answer a suggestion that was taken for a step that never began, or never ended."""
        taken = self._under_way
        self._under_way = None
        if taken is not None and self._stepping:
            unsure = "its step was not finished, so whether it was sent is not known"
            self._send_answer(taken, taken.answer("failed", f"{why}; {unsure}"))
        elif taken is not None:
            self._send_answer(taken, taken.answer("refused", why))

    def _learn_public_keys(self) -> None:
        """Take over the public keys of real nodes, which are known once they run."""
        if self._names.learn({node["name"]: node["pubkey"] for node in self._network.network_record()}):
            self._encoder.renamed()

    def _make_state(self) -> RecentSteps:
        """Return a state that keeps enough steps for the history."""
        per_step = self._network.config.payments_per_step
        return RecentSteps(self._names, -(-self.settings.history // per_step))

    def _note(self, moment: Moment, encode: Callable[[], Chunk]) -> None:
        """Remember a moment, and publish it when a client listens.

        Whether one does is found out, and when none does noted, under one lock: a client that joins meanwhile is
        either told of this moment in its first message, or receives what is published here.
        """
        state = self._state
        with state.lock:
            if not self.listening:
                state.remember(moment)
                return
        chunk = encode()
        with state.lock:
            state.remember(moment._replace(seq=chunk.last_seq, timestamp=now()))
        self._server.publish(chunk)
        if self._pusher:
            self._pusher.offer(chunk.records)

    def _settle(self, action: Any) -> None:
        """Answer the suggestion that was under way in the step just made with an action."""
        suggestion = self._under_way
        self._under_way = None
        if suggestion is None:
            return
        if suggestion.fields.action is not None:
            self._send_answer(suggestion, self._decided(suggestion, action))
            return
        route, requested_msat, result = self._network.last_rebalance()
        status, why = rebalance_status(route, result.applied_msat, result.reason, result.detail)
        offer = self.suggestions.offer
        row = None if offer is None or isinstance(offer, OperatorTask) else offer.row_of(route)
        if row != suggestion.row or requested_msat != suggestion.amount_msat:
            status = "refused"
            why = "the agent chose another action"
        moved = result.applied_msat // 1000 if status == "applied" else None
        fee_msat = result.fee_msat if status == "applied" else 0
        self._send_answer(suggestion, suggestion.answer(status, why, amount=moved, fee_msat=fee_msat))  # type: ignore[arg-type]

    def _decided(self, suggestion: Suggestion, action: Any) -> Acknowledgement:
        """Return what became of a suggested action of an own node: what moved for which fees, and what did not."""
        if not is_action(action, suggestion.fields.action):
            return suggestion.answer("refused", "the agent chose another action")
        moves = [done for done in self._network.interventions() if isinstance(done, Rebalance)]
        told = (rebalance_status(done.route, done.result.applied_msat, done.result.reason, "") for done in moves)
        why = "; ".join(f"{done.route}: {why}" for done, (_, why) in zip(moves, told, strict=True) if why)
        moved_msat = sum(done.result.applied_msat for done in moves)
        fee_msat = sum(done.result.fee_msat for done in moves)
        return suggestion.answer("applied", why, amount=moved_msat // 1000, fee_msat=fee_msat)

    def _send_answer(self, suggestion: Suggestion, answer: Any) -> None:
        """Pass an answer on to the server."""
        self._server.send_answer(suggestion, answer)
