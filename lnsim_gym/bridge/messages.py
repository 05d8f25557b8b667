"""Every message of the bridge, in and out, as typed structures: the one source of the JSON Schema file.

All outgoing messages share an envelope with two discriminators, as readers differ in which one they look at: ``type``
is that of the original simulation's readers, ``event_type`` that of Lightning Lens. Amounts and balances are integers,
in sat unless the name says otherwise. How messages are filled stands in ``encoder``, how they are answered in
``dialogue``.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

__all__ = [
    "INBOUND",
    "KINDS",
    "KINDS_ON_REQUEST",
    "OUTBOUND",
    "SCHEMA",
    "Acknowledgement",
    "Activity",
    "ActivityData",
    "ActivityPart",
    "ActivityPayment",
    "ActivityPolicy",
    "ActivityRebalance",
    "ByHand",
    "ChannelEnd",
    "ChannelUpdate",
    "ConnectionStatus",
    "ConnectionTestResponse",
    "Controls",
    "ControlsData",
    "Dashboard",
    "DashboardData",
    "Dropped",
    "EpisodeEnded",
    "ErrorReply",
    "FieldDifference",
    "HeartbeatResponse",
    "InChooseAgent",
    "InCompare",
    "InDashboard",
    "InOpenRecording",
    "InReset",
    "InSetSpeed",
    "InStep",
    "Network",
    "NetworkChannels",
    "NetworkData",
    "NetworkNode",
    "Payment",
    "PlayedStep",
    "Pong",
    "QueuedSuggestions",
    "RebalanceStatus",
    "RebalanceSummary",
    "Recording",
    "RecordingData",
    "Registered",
    "RequestSuggestions",
    "Reset",
    "StateUpdate",
    "Step",
    "Subscribed",
    "SuggestionAck",
    "SuggestionEcho",
    "SuggestionFields",
    "Transaction",
]

SCHEMA: Final = "lightningnet/1"
"""Name and version of the format; a change that old readers would misread gets a new number."""

KINDS: Final = (
    "transaction",
    "channel_update",
    "reset",
    "step",
    "episode_end",
    "request_suggestions",
    "rebalance_suggestion",
)
"""Kinds of messages that are published to everyone, and that a client may subscribe to."""

KINDS_ON_REQUEST: Final = ("activity", "controls")
"""Kinds that are published only to clients that subscribe to them."""

RebalanceStatus = Literal["none", "applied", "refused", "failed"]
"""What became of a rebalance."""


class _Part(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A part of a message."""


class _Envelope(_Part, kw_only=True):
    """What every outgoing message begins with."""

    type: str
    event_type: str
    schema: Literal["lightningnet/1"] = SCHEMA
    seq: int
    """Number of the message among those of the episodes; a message of another kind repeats the last one."""
    timestamp: str
    """ISO 8601 with six decimals, UTC, ending with ``Z``; strictly increasing over the messages of the episodes."""


class ChannelEnd(_Part, kw_only=True):
    """One end of a channel, seen from its node."""

    channel_id: str
    """Name of the end: the node, and the first 8 hex digits of the peer's public key."""
    remote_pubkey: str
    """The peer's public key, in hex."""
    remote_alias: str
    """The peer's name, as nodes are called in all messages."""
    capacity: int
    """Of the channel."""
    local_balance: int
    """What the node can at most send over it: its balance."""
    remote_balance: int
    """The peer's balance."""


class Payment(_Part, kw_only=True):
    """A payment and what became of it."""

    sender: str
    """Node that pays."""
    receiver: str
    """Node that is paid."""
    amount: int
    """What arrives, without fees, rounded down."""
    success: bool
    """Whether it was settled."""
    description: str
    """What it is for, as the traffic model says."""
    amount_msat: int
    """What arrives, without fees."""
    fee_msat: int
    """Routing fees, 0 when it failed."""
    hops: int
    """Channels on its way, 0 when it failed."""
    attempts: int
    """Routes that were tried."""
    failure_reason: str
    """LND's failure reason, empty when it succeeded."""
    duration_ms: float
    """Wall time, 0 when simulated."""
    payment_hash: str
    """Empty when simulated."""
    step: int
    """Number of its step in the episode, from 0."""
    episode: int
    """Number of the episode, from 0."""
    seed: int
    """Seed of the episode."""


class _FlatEnd(_Envelope, kw_only=True):
    """A channel end at the top level, with its payments so far."""

    node: str
    """Node whose end it is."""
    channel_id: str
    """See ``ChannelEnd``; so are those that follow."""
    remote_pubkey: str
    """The peer's public key, in hex."""
    capacity: int
    """Of the channel."""
    local_balance: int
    """The node's balance."""
    remote_balance: int
    """The peer's balance."""
    balance_ratio: float
    """``local_balance`` as a share of the capacity, in 0..1."""
    tx_count: int
    """Payments reported since the bridge was made whose first hop was this end."""
    success_rate: float
    """Share of the last hundred of them that succeeded; 0 before the first."""
    avg_amount: float
    """Mean amount of the last hundred of them; 0 before the first."""


Channels = dict[str, list[ChannelEnd]]


class Transaction(_FlatEnd, kw_only=True):
    """A payment; the flat fields are the sender's first hop, the channels those of both nodes, after it."""

    type: Literal["transaction"] = "transaction"
    event_type: Literal["transaction"] = "transaction"
    data: Payment
    transaction: Payment
    """The same as ``data``."""
    channels: Channels
    """All ends of the sender and of the receiver, by node."""


class ChannelUpdate(_FlatEnd, kw_only=True):
    """A channel end whose balance changed, and the channels of its node: all, or of very many the one that changed."""

    type: Literal["channel_update"] = "channel_update"
    event_type: Literal["channel_state"] = "channel_state"
    data: Channels
    """The same as ``channels``."""
    channels: Channels
    """Ends of the node, by its name."""


class ResetData(_Part, kw_only=True):
    """An episode began."""

    episode: int
    """Number of the episode, from 0."""
    seed: int
    """Its seed."""
    observation: Any
    """As in ``StepData``."""
    info: dict[str, Any]
    """As the environment returns it, as JSON."""


class Reset(_Envelope, kw_only=True):
    """An episode began; the channel updates that go with it precede the message."""

    type: Literal["reset"] = "reset"
    event_type: Literal["reset"] = "reset"
    data: ResetData


class RebalanceSummary(_Part, kw_only=True):
    """The rebalance of a step."""

    status: RebalanceStatus
    """What became of it."""
    route: list[str]
    """Nodes in order, empty when no rebalance was asked for."""
    amount: int
    """Asked for."""
    applied: int
    """What arrived."""
    fee_msat: int
    """Fees that were paid for it."""
    why: str
    """Why it was refused or failed."""


class StepData(_Part, kw_only=True):
    """A step was made."""

    episode: int
    """Number of the episode, from 0."""
    step: int
    """Number of the step in its episode, from 0."""
    action: Any
    """As given to ``step``; ``{"row", "amount_msat"}`` for an exact rebalance."""
    rebalance: RebalanceSummary
    observation: Any
    """Numbers, or an object of lists of numbers, as the environment's observation; null for lists that are very long,
    here and in the action and the info."""
    reward: float
    """As the environment returns it."""
    terminated: bool
    """Whether the episode ended by itself."""
    truncated: bool
    """Whether it was ended, by its time limit or a lost backend."""
    info: dict[str, Any]
    """As the environment returns it, as JSON."""


class Step(_Envelope, kw_only=True):
    """A step was made; its transactions and channel updates precede the message."""

    type: Literal["step"] = "step"
    event_type: Literal["step"] = "step"
    data: StepData


class EpisodeEndData(_Part, kw_only=True):
    """An episode ended."""

    episode: int
    """Number of the episode, from 0."""
    steps: int
    """Steps that were made."""
    total_reward: float
    """Sum of their rewards."""
    payments: int
    """Payments that were tried."""
    succeeded: int
    """Those of them that settled."""
    success_rate: float
    """Share that settled; 0 without payments."""
    terminated: bool
    """Whether it ended by itself."""
    truncated: bool
    """Whether it was ended, by its time limit or a lost backend."""
    backend_error: str
    """Why the backend was lost, empty when it was not."""


class EpisodeEnded(_Envelope, kw_only=True):
    """An episode ended, by its time limit, a lost backend, or a reset."""

    type: Literal["episode_end"] = "episode_end"
    event_type: Literal["episode_end"] = "episode_end"
    data: EpisodeEndData


class SuggestionFields(_Part, kw_only=True):
    """A suggested rebalance, or an action of one's own node."""

    from_node: str
    """Node that pays."""
    to_node: str
    """Node that is paid; the same when it goes around."""
    route: list[int]
    """Directions in order from the paying node; of a pair of channels whose route is yet to be found, those two."""
    amount: int
    """Sat that are to arrive."""
    confidence: float
    """In 0..1; the highest goes first."""
    reason: str
    """The sender's own words."""
    id: str
    """The sender's own, or one given by the bridge; repeated in every acknowledgement."""
    action: dict[str, Any] | None
    """What an own node is to do, as it was suggested; then its name stands for both nodes, and nothing in ``route``."""


class RequestData(_Part, kw_only=True):
    """The step that a suggestion is wanted for."""

    episode: int
    """Number of the episode, from 0."""
    step: int
    """Number of the coming step in it, from 0."""
    deadline_s: float
    """Seconds the episode waits for an answer; 0 when it does not."""


class RequestSuggestions(_Envelope, kw_only=True):
    """Clients that have suggestions are asked for them, by the agent of the episode or by another client."""

    type: Literal["request_suggestions"] = "request_suggestions"
    event_type: Literal["request_suggestions"] = "request_suggestions"
    data: RequestData


class SuggestionEcho(_Envelope, kw_only=True):
    """A suggestion that was queued, sent to everyone."""

    type: Literal["rebalance_suggestion"] = "rebalance_suggestion"
    event_type: Literal["rebalance_suggestion"] = "rebalance_suggestion"
    data: SuggestionFields
    suggestion: SuggestionFields
    """The same as ``data``."""


class StateData(_Part, kw_only=True):
    """All there is to know before the next message, or a part of it: in large networks it takes several messages.

    They come one right after the other. The channel ends of a node may lie in several of them.
    """

    channels: Channels
    """Ends of channels by node."""
    transactions: list[Payment]
    """Oldest first; all in the first part."""
    last_update: str | None
    """Time of the last step or reset; null before the first reset."""
    episode: int
    """Number of the episode, from 0."""
    step: int
    """Steps done in the episode; -1 before the first reset."""
    takes_suggestions: bool
    """Whether an agent plays that does what clients suggest."""
    part: int = 1
    """Number of this part, from 1."""
    parts: int = 1
    """Number of parts that together hold all channels."""


class StateUpdate(_Envelope, kw_only=True):
    """The first message to a new client, and to one that lost messages; in large networks also the first of a reset.

    It takes the place of what was told before.
    """

    type: Literal["state_update"] = "state_update"
    event_type: Literal["state_update"] = "state_update"
    data: StateData


class ConnectionData(_Part, kw_only=True):
    """A connection stands."""

    status: Literal["connected"] = "connected"
    """Always so."""
    client_id: int
    """Number of this client."""
    server_time: str
    """Time of the connection."""
    message: str
    """A greeting, for people."""


class ConnectionStatus(_Envelope, kw_only=True):
    """The second message to a new client."""

    type: Literal["connection_status"] = "connection_status"
    event_type: Literal["connection_status"] = "connection_status"
    data: ConnectionData


class Acknowledgement(_Part, kw_only=True):
    """What became of a suggestion so far."""

    id: str
    """As in the suggestion, or as given by the bridge."""
    status: Literal["queued", "applied", "refused", "failed"]
    """How far it has come."""
    from_node: str
    """Node that pays."""
    to_node: str
    """Node that is paid; the same when it goes around."""
    amount: int
    """Asked for; what was moved when applied."""
    fee_msat: int
    """Fees that were paid for it; 0 unless applied."""
    why: str
    """Why it was refused, or LND's reason for its failure; empty otherwise."""


class SuggestionAck(_Envelope, kw_only=True):
    """The answer to a suggestion: first queued or refused, then applied, refused or failed."""

    type: Literal["suggestion_ack"] = "suggestion_ack"
    event_type: Literal["suggestion_ack"] = "suggestion_ack"
    data: Acknowledgement


class QueuedSuggestions(_Envelope, kw_only=True):
    """The answer to ``request_suggestions`` and to an empty list: what waits to be applied, best first."""

    type: Literal["rebalance_suggestions"] = "rebalance_suggestions"
    event_type: Literal["rebalance_suggestions"] = "rebalance_suggestions"
    suggestions: list[SuggestionFields]
    """At most 100 of them."""


class RegisteredData(_Part, kw_only=True):
    """A client said who it is."""

    client: str
    """The name it gave."""
    client_id: int
    """Number of this client."""


class Registered(_Envelope, kw_only=True):
    """The answer to ``register``."""

    type: Literal["registered"] = "registered"
    event_type: Literal["registered"] = "registered"
    data: RegisteredData


class SubscribedData(_Part, kw_only=True):
    """What a client receives from now on."""

    kinds: list[str]
    """Types of published messages."""


class Subscribed(_Envelope, kw_only=True):
    """The answer to ``subscribe``."""

    type: Literal["subscribed"] = "subscribed"
    event_type: Literal["subscribed"] = "subscribed"
    data: SubscribedData


class HeartbeatResponse(_Envelope, kw_only=True):
    """The answer to ``heartbeat``."""

    type: Literal["heartbeat_response"] = "heartbeat_response"
    event_type: Literal["heartbeat_response"] = "heartbeat_response"


class Pong(_Envelope, kw_only=True):
    """The answer to ``ping``."""

    type: Literal["pong"] = "pong"
    event_type: Literal["pong"] = "pong"


class EchoData(_Part, kw_only=True):
    """What came, and when."""

    received_at: str
    """When it came."""
    echo_data: Any
    """What stood under ``data``."""


class ConnectionTestResponse(_Envelope, kw_only=True):
    """The answer to ``connection_test``."""

    type: Literal["connection_test_response"] = "connection_test_response"
    event_type: Literal["connection_test_response"] = "connection_test_response"
    data: EchoData


class DroppedData(_Part, kw_only=True):
    """What a client lost by being slow."""

    messages: int
    """Published messages dropped since the last notice."""
    total: int
    """Dropped since the client connected."""


class Dropped(_Envelope, kw_only=True):
    """The client was too slow: what waited for it was dropped; the state follows."""

    type: Literal["dropped"] = "dropped"
    event_type: Literal["dropped"] = "dropped"
    data: DroppedData


class NetworkNode(_Part, kw_only=True):
    """A node."""

    name: str
    """As in all other messages."""
    alias: str
    """What the node calls itself, for showing only: text of strangers. Its plain name where it has none."""
    public_key: str
    """In hex; of a simulated node without one a stand-in made from its name."""


class NetworkChannels(_Part, kw_only=True):
    """Channels as columns, in the order of the environment; a direction is twice its channel, plus 1 from the peer.

    Lists of pairs hold the initiator's side first.
    """

    initiator: list[int]
    """Places of the nodes in ``nodes``."""
    peer: list[int]
    """The same of the other nodes."""
    capacity_sat: list[int]
    """What both sides hold together, reserves and fees of the chain included."""
    reserve_sat: list[int]
    """What each side must keep."""
    balances_sat: list[tuple[int, int]]
    """What each side holds."""
    fee_base_msat: list[tuple[int, int]]
    """What each side asks for forwarding into the channel; so are all that follow."""
    fee_rate_ppm: list[tuple[int, int]]
    """Share of the amount in millionths."""
    time_lock_delta: list[tuple[int, int]]
    """In blocks."""
    min_htlc_msat: list[tuple[int, int]]
    """Least amount that it forwards."""
    max_htlc_msat: list[tuple[int, int]]
    """Greatest amount that it forwards."""
    inbound_fee_base_msat: list[tuple[int, int]]
    """For what comes in over the channel; negative for a discount."""
    inbound_fee_rate_ppm: list[tuple[int, int]]
    """The same as a share, in millionths."""
    disabled: list[tuple[bool, bool]]
    """Whether it forwards nothing into the channel."""


class NetworkData(_Part, kw_only=True):
    """The network as it stands after the message whose ``seq`` the envelope repeats, or a part of it."""

    environment: str
    """Id of the environment, empty when it has none."""
    backend: str
    """``simulator`` or ``lnd``."""
    episode: int
    """Number of the episode, from 0."""
    step: int
    """Steps done in the episode; -1 before the first reset."""
    seed: int
    """Its seed."""
    own_node: int | None
    """Place in ``nodes`` of the one node that is managed; None when all are."""
    nodes: list[NetworkNode]
    """All of them, in every part."""
    first_channel: int
    """Number of the first channel of this part."""
    channels: NetworkChannels
    """Those of this part."""
    part: int
    """Number of this part, from 1."""
    parts: int
    """Number of parts that together hold all channels."""


class Network(_Envelope, kw_only=True):
    """The answer to ``request_network``: nodes and channels in the environment's order, with fees and balances."""

    type: Literal["network"] = "network"
    event_type: Literal["network"] = "network"
    data: NetworkData


class ActivityPart(_Part, kw_only=True):
    """A settled part of a payment."""

    route: list[int]
    """Directions in order from the sender."""
    hop_msat: list[int]
    """What went over each of them, fees included."""


class ActivityPayment(_Part, kw_only=True):
    """A payment and the ways that it took."""

    sender: int
    """Place of the node in the network's ``nodes``."""
    receiver: int
    """The same of the node that is paid."""
    amount_msat: int
    """What arrives, without fees."""
    fee_msat: int
    """Routing fees, 0 when it failed."""
    success: bool
    """Whether it was settled."""
    failure_reason: str
    """LND's failure reason, empty when it succeeded."""
    attempts: int
    """Routes that were tried."""
    description: str
    """What it is for, as the traffic model says."""
    duration_ms: float
    """Wall time, 0 when simulated."""
    parts: list[ActivityPart]
    """Empty when it failed."""


class ActivityRebalance(_Part, kw_only=True):
    """A rebalance and the way that it took."""

    status: RebalanceStatus
    """What became of it."""
    route: list[int]
    """Directions in order from the paying node."""
    amount_msat: int
    """Asked for."""
    applied_msat: int
    """What arrived."""
    fee_msat: int
    """Fees that were paid for it."""
    why: str
    """Why it was refused or failed; empty otherwise."""


class ActivityPolicy(_Part, kw_only=True):
    """A routing policy that was changed."""

    direction: int
    """Direction that it is for."""
    fee_base_msat: int
    """New base fee."""
    fee_rate_ppm: int
    """New rate, in millionths of the amount."""
    time_lock_delta: int
    """New time lock delta, in blocks."""


class ActivityData(_Part, kw_only=True):
    """Everything that moved in a step, in few bytes."""

    episode: int
    """Number of the episode, from 0."""
    step: int
    """Number of the step in its episode, from 0."""
    reward: float | None
    """None where a record does not hold it."""
    rewards: dict[str, float]
    """Terms of the reward by name, as in the info; of an own node its income first, then each kind of cost. Empty where
    a record does not hold them."""
    rebalances: list[ActivityRebalance]
    """In the order in which they were done, before the payments."""
    policies: list[ActivityPolicy]
    """Changes of routing policies."""
    payments: list[ActivityPayment]
    """In the order of the batch."""
    balances_sat: list[tuple[int, int, int]]
    """Channels whose balance changed by a sat or more, with what initiator and peer hold after the step."""


class Activity(_Envelope, kw_only=True):
    """What moved in a step and over which channels; for clients that subscribe to it. Follows the step's message."""

    type: Literal["activity"] = "activity"
    event_type: Literal["activity"] = "activity"
    data: ActivityData


class ControlsData(_Part, kw_only=True):
    """How the episodes are being played, and whether this client may change it."""

    paused: bool
    """Whether the episodes rest."""
    steps_per_second: float
    """Pace; 0 is full speed."""
    agent: str
    """Agent that plays."""
    agents: list[str]
    """Agents that may be chosen."""
    allowed: bool | None
    """Whether this client may control the episodes; None in messages to everyone."""
    why: str
    """Why it may not."""


class Controls(_Envelope, kw_only=True):
    """The answer to ``request_controls``; published to its subscribers whenever something changes."""

    type: Literal["controls"] = "controls"
    event_type: Literal["controls"] = "controls"
    data: ControlsData


class PlayedStep(_Part, kw_only=True):
    """The sums of a step that was played."""

    episode: int
    """Number of the episode, from 0."""
    step: int
    """Number of the step in it, from 0."""
    payments: int
    """Payments that were tried."""
    succeeded: int
    """Those of them that settled."""
    reward: float
    """As the environment returned it."""
    rewards: dict[str, float]
    """Terms of the reward by name."""
    dry: int
    """Channel ends that held less than a tenth of their channel's funds after it."""


class ByHand(_Part, kw_only=True):
    """What people may suggest by hand."""

    operation: Literal["push", "circular", "own_node", "none"]
    """Pushes over a channel, rebalances around, actions of one's own node, or nothing."""
    longest: int
    """Most channels of a rebalance around that is named hop by hop; 0 where its route is found, and only the first and
    the last channel are named."""
    channels: list[int]
    """Directions out of one's own node, in the order in which its actions number channels; empty without one."""
    rows: int
    """Numbers of each entry of an action that has one for each channel."""
    entries: list[str]
    """What an action of one's own node may have, such as ``fee_rate_ppm`` and ``rebalance``."""
    rebalances: int
    """Rebalances in an action of one's own node."""


class DashboardData(_Part, kw_only=True):
    """What the page needs besides the network."""

    positions: list[tuple[float, float]]
    """Where to draw each node, within -1 and 1."""
    history: list[PlayedStep]
    """The last steps, oldest first."""
    agents: list[str]
    """Agents that can be compared."""
    recordings: list[str]
    """Records that can be opened."""
    by_hand: ByHand
    """What may be suggested by hand, as long as an agent takes suggestions."""


class Dashboard(_Envelope, kw_only=True):
    """The answer to ``request_dashboard``."""

    type: Literal["dashboard"] = "dashboard"
    event_type: Literal["dashboard"] = "dashboard"
    data: DashboardData


class FieldDifference(_Part, kw_only=True):
    """A field that came out differently when a trace was played on the simulator."""

    step: int
    """Step of the episode, -1 for its start."""
    payment: int | None
    """Payment of the step; None for its rebalance and for balances."""
    field: str
    """What differs, as in the trace."""
    expected: Any
    """What the trace has."""
    got: Any
    """What the simulator did."""


class RecordingData(_Part, kw_only=True):
    """A whole episode."""

    pane: int
    """Which of the panes it is for, from 0."""
    panes: int
    """Panes that are shown beside each other."""
    title: str
    """What it shows."""
    network: NetworkData
    """As it stood when the episode began."""
    positions: list[tuple[float, float]]
    """As in ``DashboardData``."""
    episodes: list[int]
    """Numbers of all episodes of the record, to choose from."""
    steps: list[ActivityData]
    """All steps of the episode."""
    differences: list[FieldDifference]
    """Against the first pane, where that is a trace and this its simulation."""


class Recording(_Envelope, kw_only=True):
    """An episode of a record or of a comparison; one message for each pane."""

    type: Literal["recording"] = "recording"
    event_type: Literal["recording"] = "recording"
    data: RecordingData


class ErrorData(_Part, kw_only=True):
    """Why a message was not accepted."""

    reason: str
    """What was expected and what came."""


class ErrorReply(_Envelope, kw_only=True):
    """The answer to anything the bridge does not understand or accept."""

    type: Literal["error"] = "error"
    event_type: Literal["error"] = "error"
    data: ErrorData


OUTBOUND: Final = (
    StateUpdate,
    ConnectionStatus,
    Transaction,
    ChannelUpdate,
    Reset,
    Step,
    EpisodeEnded,
    RequestSuggestions,
    SuggestionEcho,
    SuggestionAck,
    QueuedSuggestions,
    Registered,
    Subscribed,
    HeartbeatResponse,
    Pong,
    ConnectionTestResponse,
    Dropped,
    Network,
    Activity,
    Controls,
    Dashboard,
    Recording,
    ErrorReply,
)
"""Every message the bridge sends."""


class InboundSuggestion(msgspec.Struct, kw_only=True):
    """A suggestion as models send it; other fields are allowed and ignored."""

    from_node: str = ""
    """Node that pays, by its name with or without ``lnd-``."""
    to_node: str = ""
    """Node that is paid, over the channel that the two share."""
    route: list[int] = []
    """In place of the two nodes, and for rebalances around: directions in order from the paying node; where routes are
    found when they are taken, that by which the amount leaves the node and that by which it comes back."""
    action: dict[str, Any] | None = None
    """In place of all these, where one runs a node of one's own: plain numbers as in actions of the kind ``dict``;
    what stays as it is may be left out."""
    amount: int = 0
    """Sat that are to arrive, at most the capacity of the smallest channel; not with an ``action``."""
    confidence: float = 0.5
    """In 0..1; the highest goes first, the oldest among equals."""
    reason: str = ""
    """For people; the first 200 characters are kept."""
    id: str | int | None = None
    """Comes back in every answer; one is given where there is none."""


class InRebalanceSuggestion(msgspec.Struct, kw_only=True):
    """One suggestion, under ``suggestion`` or ``data``."""

    type: Literal["rebalance_suggestion"]
    suggestion: InboundSuggestion | None = None
    """The suggestion."""
    data: InboundSuggestion | None = None
    """The same, where ``suggestion`` is not given."""


class InSuggestions(msgspec.Struct, kw_only=True):
    """A list of suggestions, under ``suggestions`` or ``data``; an empty one means that nothing is to be done."""

    type: Literal["suggestions", "rebalance_suggestions"]
    suggestions: list[InboundSuggestion] | None = None
    """At most 100 suggestions."""
    data: list[InboundSuggestion] | None = None
    """The same, where ``suggestions`` is not given."""


class InSubscribe(msgspec.Struct, kw_only=True):
    """Asks for some kinds of published messages only."""

    type: Literal["subscribe"]
    kinds: list[
        Literal[
            "transaction",
            "channel_update",
            "reset",
            "step",
            "episode_end",
            "request_suggestions",
            "rebalance_suggestion",
            "activity",
            "controls",
        ]
    ]
    """Types of published messages; an empty list is for none."""


class InRegister(msgspec.Struct, kw_only=True):
    """Says who the client is."""

    type: Literal["register"]
    client: str = ""
    """Its name."""


class InReset(msgspec.Struct, kw_only=True):
    """Begins an episode, by a seed or the next of the sequence; the answer is the published ``reset``."""

    type: Literal["reset"]
    seed: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Seed of the episode; by default the next of the sequence."""


class InStep(msgspec.Struct, kw_only=True):
    """Makes a step, and pauses; without an action the agent chooses it. The answer is the published ``step``."""

    type: Literal["step"]
    action: Any = None
    """An element of the action space as JSON; ``{"row", "amount_msat"}`` for an exact rebalance; for a node of one's
    own, as an ``action`` of a suggestion."""


class InPlay(msgspec.Struct, kw_only=True):
    """Pauses the episodes, or lets them go on."""

    type: Literal["pause", "resume"]


class InSetSpeed(msgspec.Struct, kw_only=True):
    """Sets the pace; 0 is full speed."""

    type: Literal["set_speed"]
    steps_per_second: Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
    """At most so many."""


class InChooseAgent(msgspec.Struct, kw_only=True):
    """Lets another agent play on, by one of the names in ``controls``."""

    type: Literal["choose_agent"]
    agent: str
    """Its name."""


class InDashboard(msgspec.Struct, kw_only=True):
    """Asks a dashboard for what its page needs besides the network."""

    type: Literal["request_dashboard"]


class InCompare(msgspec.Struct, kw_only=True):
    """Lets agents play the same episode on the simulator; the answers are ``recording`` messages."""

    type: Literal["compare"]
    agents: Annotated[list[str], msgspec.Meta(min_length=1, max_length=2)]
    """Names out of ``dashboard``, each with a pane of its own."""
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Seed of the episode."""
    steps: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 100
    """Steps of the episode."""


class InOpenRecording(msgspec.Struct, kw_only=True):
    """Opens a record by its name in ``dashboard``; the answers are ``recording`` messages."""

    type: Literal["open_recording"]
    name: str
    """Its name."""
    episode: int | None = None
    """By default the first."""
    simulate: bool = False
    """Whether to play a trace on the simulator beside it."""


class InSimple(msgspec.Struct, kw_only=True):
    """Asks for an answer."""

    type: Literal["request_suggestions", "request_network", "request_controls", "heartbeat", "ping", "connection_test"]
    data: Any = None
    """Sent back by ``connection_test``, ignored otherwise."""


INBOUND: Final = (
    InRebalanceSuggestion,
    InSuggestions,
    InSubscribe,
    InRegister,
    InReset,
    InStep,
    InPlay,
    InSetSpeed,
    InChooseAgent,
    InDashboard,
    InCompare,
    InOpenRecording,
    InSimple,
)
"""Every message the bridge accepts; ``event_type`` may stand for ``type``."""
