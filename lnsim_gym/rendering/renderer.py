"""The render modes: what ``env.render()`` returns, and when a window is drawn."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from lnsim_gym.episodes import Episodes
from lnsim_gym.errors import ConfigError, MissingDependency, did_you_mean
from lnsim_gym.rendering.scene import History, Scene, Watcher
from lnsim_gym.rendering.text import scene_text
from lnsim_gym.rendering.window import Window

if TYPE_CHECKING:
    from lnsim_gym.rendering.own_node import OwnNodePicture
    from lnsim_gym.rendering.picture import Picture

__all__ = ["RENDER_FPS", "RENDER_MODES", "Renderer"]

RENDER_MODES: Final = ("human", "rgb_array", "ansi")
"""``human`` draws a window at every reset and step, ``rgb_array`` gives pictures, ``ansi`` gives text."""
RENDER_FPS: Final = 4
"""Steps per second of windows and videos."""
MOST_IN_A_WINDOW: Final = 9
"""Most networks that a window shows, the first of a larger batch."""
_NEEDS: Final = {"human": ("matplotlib", "pygame"), "rgb_array": ("matplotlib",), "ansi": ()}


class Renderer:
    """Shows the networks of an episode runner.

    Args:
        mode: One of ``RENDER_MODES``.
        episodes: The runner.
        metadata: The environment's; its ``render_fps`` is the pace of a window, and may change.

    Raises:
        ConfigError: There is no such mode.
        MissingDependency: A package that the mode needs is not installed.
    """

    def __init__(self, mode: str, episodes: Episodes, metadata: Mapping[str, Any]) -> None:
        _check(mode)
        self._mode = mode
        self._metadata = metadata
        self._episodes = episodes
        self._watchers = [Watcher(episodes, network) for network in range(episodes.networks)]
        self._pictures: list[Picture | OwnNodePicture] = []
        self._window: Window | None = None
        self._length: int | None = None

    def began(self, which: npt.NDArray[np.bool_], length: int | None = None) -> None:
        """Take in that the chosen networks began an episode.

        Args:
            which: Shape (networks,).
            length: Steps of an episode; None where that is unknown.
        """
        self._length = length
        for network in np.flatnonzero(which).tolist():
            self._watchers[network].began()
        self._show_window()

    def stepped(self, which: npt.NDArray[np.bool_]) -> None:
        """Take in a step of the chosen networks, shape (networks,)."""
        for network in np.flatnonzero(which).tolist():
            self._watchers[network].stepped()
        self._show_window()

    def render(self) -> tuple[Any, ...] | None:
        """Return a picture or text of each network, or draw the window and return None."""
        if self._mode == "human":
            self._show_window()
            return None
        return tuple(self._frame(watcher) for watcher in self._watchers)

    def save_state(self) -> list[History]:
        """Return what is known of the episode of each network."""
        return [watcher.history for watcher in self._watchers]

    def restore_state(self, state: list[History] | None) -> None:
        """Show what was shown when this state was saved; begin without a past where nothing was shown."""
        histories = [History() for _ in self._watchers] if state is None else state
        for watcher, history in zip(self._watchers, histories, strict=True):
            watcher.history = history

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle what is known of the episodes; the copy draws pictures, and opens a window, of its own."""
        return _resume, (self._mode, self._episodes, dict(self._metadata), self.save_state(), self._length)

    def close(self) -> None:
        """Close the window; harmless when closed already."""
        if self._window is not None:
            self._window.close()

    def _show_window(self) -> None:
        """Draw the window, where there is one."""
        if self._mode != "human":
            return
        if self._window is None:
            self._window = Window("Lightning network")
        if not self._window.closed:
            shown = self._watchers[:MOST_IN_A_WINDOW]
            self._window.show(_tiled([self._frame(watcher) for watcher in shown]), self._metadata["render_fps"])

    def _frame(self, watcher: Watcher) -> Any:
        """Return a picture or text of what a watcher sees."""
        scene = watcher.scene(self._length)
        return scene_text(scene) if self._mode == "ansi" else self._picture(scene).draw(scene)

    def _picture(self, scene: Scene) -> Picture | OwnNodePicture:
        """Return what draws the scene's topology: one picture serves all networks that are on it."""
        from lnsim_gym.rendering.own_node import OwnNodePicture  # noqa: PLC0415 - Matplotlib is an extra
        from lnsim_gym.rendering.picture import Picture  # noqa: PLC0415 - Matplotlib is an extra

        for picture in self._pictures:
            if picture.shows(scene.topology):
                return picture
        kind = Picture if scene.own is None else OwnNodePicture
        self._pictures.append(kind(scene.topology, tile=len(self._watchers) > 1))
        return self._pictures[-1]


def _resume(
    mode: str, episodes: Episodes, metadata: Mapping[str, Any], state: list[History], length: int | None
) -> Renderer:
    """Return a renderer that goes on where another one stood."""
    renderer = Renderer(mode, episodes, metadata)
    renderer.restore_state(state)
    renderer._length = length
    return renderer


def _check(mode: str) -> None:
    """Refuse an unknown mode, and one whose packages are missing."""
    if mode not in RENDER_MODES:
        raise ConfigError(
            f"unknown render_mode {mode!r}.{did_you_mean(mode, RENDER_MODES)} Known: {', '.join(RENDER_MODES)}, or None"
        )
    missing = [package for package in _NEEDS[mode] if importlib.util.find_spec(package) is None]
    if missing:
        raise MissingDependency(
            f"render_mode {mode!r} needs {' and '.join(missing)}: run pip install 'lnsim_gym[render]'"
        )


def _tiled(pictures: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Return pictures of one size side by side in a grid, white where there are none left."""
    columns = int(np.ceil(np.sqrt(len(pictures))))
    rows = -(-len(pictures) // columns)
    blank = [np.full_like(pictures[0], 255)] * (rows * columns - len(pictures))
    cells = [*pictures, *blank]
    return np.concatenate(
        [np.concatenate(cells[row * columns : (row + 1) * columns], axis=1) for row in range(rows)], axis=0
    )
