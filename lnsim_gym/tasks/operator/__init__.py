"""The operator's task: one node of one's own in a network that others use, paid in net profit."""

from lnsim_gym.tasks.operator.config import OperatorConfig
from lnsim_gym.tasks.operator.task import OperatorTask

__all__ = ["OperatorConfig", "OperatorTask"]
