"""What episodes leave behind: events, CSV and Parquet files, running statistics, traces and their replay.

This room knows backends and networks; it knows neither agents nor gymnasium.
"""

from lnsim_gym.records.events import EpisodeEnd, EpisodeStart, Recorder, StepEvents

__all__ = ["EpisodeEnd", "EpisodeStart", "Recorder", "StepEvents"]
