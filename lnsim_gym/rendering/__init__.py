"""What people see of an episode: text, a picture, or a window.

A ``Renderer`` follows the networks of an episode runner and makes ``Scene`` objects; ``text`` and ``picture`` show a
scene, ``window`` shows pictures on a display. Matplotlib and pygame are imported when a mode needs them, so that an
environment without ``render_mode`` neither loads nor pays for any of this.
"""

from lnsim_gym.rendering.renderer import RENDER_FPS, RENDER_MODES, Renderer
from lnsim_gym.rendering.scene import Rebalance, Scene

__all__ = ["RENDER_FPS", "RENDER_MODES", "Rebalance", "Renderer", "Scene"]
