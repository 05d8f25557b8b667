"""How episodes are played: pace, pauses, single steps, resets and the agent, as clients may change them.

The thread that steps the environment waits here for what to do next; the server's thread passes on what clients ask.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lnsim_gym.bridge.messages import ControlsData

__all__ = ["Choose", "Command", "Controls", "Reset", "Step"]

MAX_COMMANDS = 100
"""Commands that wait at most; a further one is refused."""


@dataclass(frozen=True, slots=True)
class Step:
    """Make a step."""

    action: Any = None
    """What a client wants done, as JSON; None when the agent chooses."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Begin an episode."""

    seed: int | None
    """None for the next of the sequence."""


@dataclass(frozen=True, slots=True)
class Choose:
    """Let another agent play."""

    agent: str


@dataclass(frozen=True, slots=True)
class Command:
    """Something to be done next."""

    what: Step | Reset | Choose
    client: int | None = None
    """Who asked for it; None when nobody did."""


class Controls:
    """The pace of the episodes and what clients want done.

    Args:
        agent: Name of the agent that plays.
        agents: Names of those that may play.
        steps_per_second: Pace; 0 is full speed.
        paused: Whether to begin at rest.
        on_change: Called after every change, from the thread that made it.
    """

    def __init__(self, agent: str, agents: Sequence[str], steps_per_second: float, paused: bool = False) -> None:
        self.on_change: Callable[[], None] = lambda: None
        """Called after every change, on the thread that made it."""
        self._agent = agent
        self._agents = list(agents)
        self._steps_per_second = steps_per_second
        self._paused = paused
        self._commands: deque[Command] = deque()
        self._due_s = time.monotonic()
        self._change = threading.Condition()

    def describe(self, allowed: bool | None = None, why: str = "") -> ControlsData:
        """Return how the episodes are played."""
        with self._change:
            return ControlsData(
                paused=self._paused,
                steps_per_second=self._steps_per_second,
                agent=self._agent,
                agents=self._agents,
                allowed=allowed,
                why=why,
            )

    def ask(self, command: Command) -> bool:
        """Have something done next; False when too much waits already. A single step pauses."""
        with self._change:
            if len(self._commands) >= MAX_COMMANDS:
                return False
            self._commands.append(command)
            rests = isinstance(command.what, Step) and not self._paused
            self._paused = self._paused or rests
            self._change.notify_all()
        if rests:
            self.on_change()
        return True

    def pause(self, paused: bool) -> None:
        """Rest, or go on."""
        with self._change:
            self._paused = paused
            self._due_s = time.monotonic()
            self._change.notify_all()
        self.on_change()

    def set_speed(self, steps_per_second: float) -> None:
        """Set the pace; 0 is full speed."""
        with self._change:
            self._steps_per_second = steps_per_second
            self._due_s = time.monotonic()
            self._change.notify_all()
        self.on_change()

    def knows(self, agent: str) -> bool:
        """Whether an agent may play."""
        return agent in self._agents

    @property
    def agents(self) -> list[str]:
        """Names of the agents that may play."""
        return list(self._agents)

    def chose(self, agent: str) -> None:
        """Note that an agent plays from now on."""
        with self._change:
            self._agent = agent
        self.on_change()

    def next(self) -> Command:
        """Wait for what is to be done next: what a client asked for, or the step that is due."""
        with self._change:
            while not self._commands:
                wait_s = None if self._paused else self._due_s - time.monotonic()
                if wait_s is not None and wait_s <= 0:
                    self._count_step()
                    return Command(Step())
                self._change.wait(wait_s)
            return self._commands.popleft()

    def _count_step(self) -> None:
        """Set when the next step is due; a step that took longer than its share delays the next ones."""
        if self._steps_per_second:
            self._due_s = time.monotonic() + 1.0 / self._steps_per_second
        else:
            self._due_s = time.monotonic()
