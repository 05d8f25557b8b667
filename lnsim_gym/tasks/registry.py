"""The tasks by name."""

from __future__ import annotations

from typing import Final, TypeVar

from lnsim_gym.errors import ConfigError
from lnsim_gym.fields import described
from lnsim_gym.tasks.base import Task
from lnsim_gym.tasks.config import CONFIGS, EnvironmentConfig

__all__ = ["task_type", "register_task"]

T = TypeVar("T", bound=type[Task])

_TASKS: Final[dict[str, type[Task]]] = {}


def register_task(task: T) -> T:
    """Let environments have a task, by the value of its ``name`` in the setting ``task``; a class decorator.

    Raises:
        ConfigError: Another task has that name.
    """
    if _TASKS.setdefault(task.name, task) is not task:
        raise ConfigError(f"a task {task.name!r} is registered already: give {task.__name__} another name")
    CONFIGS[task.name] = described(task.Config)
    return task


def task_type(config: EnvironmentConfig) -> type[Task]:
    """Return the task that a config names."""
    return _TASKS[config.task]
