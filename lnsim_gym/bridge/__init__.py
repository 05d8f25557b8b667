"""Streaming episodes to outside models, and letting them act: a WebSocket bridge.

``StreamEpisodes`` publishes whatever an environment does, ``BridgeAgent`` does what clients suggest. How payments
work, and how actions are chosen otherwise, is no business of this room.
"""

from lnsim_gym.bridge.agent import BridgeAgent
from lnsim_gym.bridge.bridge import Bridge
from lnsim_gym.bridge.settings import BridgeSettings
from lnsim_gym.bridge.stream import StreamEpisodes

__all__ = ["Bridge", "BridgeAgent", "BridgeSettings", "StreamEpisodes"]
