"""What answers the page: positions and history for the live view, and whole episodes to compare and to replay."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import msgspec

from lnsim_gym.arrays import Int64
from lnsim_gym.bridge.desk import Answer, Page, Refusal
from lnsim_gym.bridge.messages import (
    Dashboard as DashboardMessage,
)
from lnsim_gym.bridge.messages import (
    DashboardData,
    ErrorData,
    ErrorReply,
    InCompare,
    InDashboard,
    InOpenRecording,
    PlayedStep,
    Recording,
    RecordingData,
)
from lnsim_gym.dashboard.by_hand import by_hand
from lnsim_gym.dashboard.comparing import compare
from lnsim_gym.dashboard.positions import positions_of
from lnsim_gym.dashboard.recordings import open_recording
from lnsim_gym.dashboard.site import find_page
from lnsim_gym.errors import LnsimError
from lnsim_gym.network import Topology
from lnsim_gym.rendering.scene import count_dry_ends
from lnsim_gym.tasks.base import Task

__all__ = ["Dashboard"]

HISTORY: Final = 5_000
"""Steps whose sums are kept."""
PATIENCE_S: Final = 0.2
"""Time the work that goes on has to notice that it is no longer wanted."""

MakeEnvironment = Callable[[str], gym.Env[Any, Any]]
"""Makes the environment, on the simulator, as the agent of a name sees it."""


class Dashboard:
    """Serves the page of a streamed environment.

    Args:
        topology: The network.
        agents: Agents that can be compared.
        make_environment: Makes the environment in which an agent is compared.
        recordings: Traces, and folders of Parquet files, that the page may open.
        task: The task that is played; None where nobody acts.
    """

    asks: Final[Mapping[str, type[msgspec.Struct]]] = {
        "request_dashboard": InDashboard,
        "compare": InCompare,
        "open_recording": InOpenRecording,
    }

    def __init__(
        self,
        topology: Topology,
        agents: Sequence[str],
        make_environment: MakeEnvironment,
        recordings: Sequence[Path] = (),
        task: Task | None = None,
    ) -> None:
        self._agents = list(agents)
        self._make_environment = make_environment
        self._recordings = {str(path): path for path in recordings}
        self._positions = positions_of(topology)
        self._by_hand = by_hand(task)
        self._history: deque[PlayedStep] = deque(maxlen=HISTORY)
        self._busy = threading.Lock()
        self._closed = threading.Event()

    def note(self, reward: float, info: Mapping[str, Any], balances_msat: Int64) -> None:
        """Keep the sums of a step that was made.

        Args:
            reward: Its reward.
            info: Its info.
            balances_msat: Balances after it, shape (channels, 2).
        """
        self._history.append(
            PlayedStep(
                episode=int(info["episode_number"]),
                step=int(info["step"]) - 1,
                payments=int(info["payments"]),
                succeeded=int(info["succeeded"]),
                reward=reward,
                rewards=info["rewards"],
                dry=count_dry_ends(balances_msat),
            )
        )

    def page(self, path: str) -> Page | None:
        """Return the file of the page under a path; None when there is none."""
        return find_page(path)

    def answer(self, message: Any, may_control: bool, answer: Answer) -> None:
        """Answer a message of the page.

        Raises:
            Refusal: What it asks for takes computing, and it may not ask for that or another is being made.
        """
        if isinstance(message, InDashboard):
            answer(
                DashboardMessage,
                data=DashboardData(
                    positions=self._positions,
                    history=list(self._history),
                    agents=self._agents,
                    recordings=list(self._recordings),
                    by_hand=self._by_hand,
                ),
            )
            return
        if not may_control:
            raise Refusal("only pages and programs on this machine may ask for recordings")
        if isinstance(message, InCompare):
            self._work(lambda: compare(message, self._make_environment, self._closed.is_set), answer)
            return
        path = self._recordings.get(message.name)
        if path is None:
            raise Refusal("there is no such recording: name one of those in 'dashboard'")
        self._work(lambda: open_recording(path, message.episode, message.simulate), answer)

    def close(self) -> None:
        """Give up what is being made."""
        self._closed.set()

    def _work(self, make: Callable[[], Iterable[RecordingData]], answer: Answer) -> None:
        """Make recordings in a thread of their own, one request at a time."""
        if not self._busy.acquire(blocking=False):
            raise Refusal("another recording is being made: ask again in a moment")

        def work() -> None:
            try:
                for recording in make():
                    answer(Recording, data=recording)
            except LnsimError as problem:
                answer(ErrorReply, data=ErrorData(reason=str(problem)))
            finally:
                self._busy.release()

        threading.Thread(target=work, name="lnsim-dashboard", daemon=True).start()
