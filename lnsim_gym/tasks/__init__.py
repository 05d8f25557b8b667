"""Tasks: what an agent sees, does and is paid for, on whichever backend.

``base`` says what a task is, ``registry`` names them, ``loop`` is the compiled step that all of them share. Each task
has a folder of its own.
"""

from lnsim_gym.tasks.base import ActionScheme, ObservationScheme, Task, TaskKernels
from lnsim_gym.tasks.columns import StepColumns
from lnsim_gym.tasks.config import EnvironmentConfig
from lnsim_gym.tasks.liquidity import LiquidityTask
from lnsim_gym.tasks.operator import OperatorTask
from lnsim_gym.tasks.registry import register_task, task_type

__all__ = [
    "ActionScheme",
    "EnvironmentConfig",
    "LiquidityTask",
    "ObservationScheme",
    "OperatorTask",
    "StepColumns",
    "Task",
    "TaskKernels",
    "register_task",
    "task_type",
]
