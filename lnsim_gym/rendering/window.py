"""A window that shows pictures, through pygame."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Window"]


class Window:
    """Opens with the first picture; once a person has closed it, it stays closed.

    Args:
        title: Title of the window.
    """

    def __init__(self, title: str) -> None:
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pygame's own use of setuptools
            import pygame  # noqa: PLC0415 - an extra
        self._pygame = pygame
        self._title = title
        self._screen: Any = None
        self._clock = pygame.time.Clock()
        self.closed = False

    def show(self, picture: npt.NDArray[np.uint8], fps: float) -> None:
        """Show a picture and answer the window system.

        Args:
            picture: uint8 of shape (height, width, 3).
            fps: Most pictures per second: waits until it is time for the next one.
        """
        pygame = self._pygame
        if self.closed:
            return
        size = picture.shape[1::-1]
        if self._screen is None or self._screen.get_size() != size:
            pygame.display.init()
            self._screen = pygame.display.set_mode(size)
            pygame.display.set_caption(self._title)
        self._screen.blit(pygame.surfarray.make_surface(picture.swapaxes(0, 1)), (0, 0))
        pygame.display.flip()
        self._clock.tick(fps)
        if pygame.event.get(pygame.QUIT):
            self.close()
        else:
            pygame.event.pump()

    def close(self) -> None:
        """Close the window; harmless when closed already."""
        if self._screen is not None:
            self._screen = None
            self._pygame.display.quit()
        self.closed = True
