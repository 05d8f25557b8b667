"""The operator's environment as seen from its own channels: an episode is surveyed once and replayed for any policy.

``survey`` plays an episode in the exact engine and works out, for every payment, what its ways around the own node, to
it and on from it cost. ``replay`` lets payments choose by these costs: a hundredth of the time, about the same income.
"""

from lnsim_gym.corridor.files import kept_survey, read_survey, write_survey
from lnsim_gym.corridor.replay import Corridor
from lnsim_gym.corridor.survey import Survey, survey_episode

__all__ = ["Corridor", "Survey", "kept_survey", "read_survey", "survey_episode", "write_survey"]
