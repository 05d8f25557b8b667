"""A small task: the agent only chooses whether the batch of a step is sent."""

from collections import namedtuple

import gymnasium as gym
import numpy as np

from lnsim_gym.compiled import kernel, outlined
from lnsim_gym.compiled.binding import reader
from lnsim_gym.tasks import ActionScheme, EnvironmentConfig, ObservationScheme, Task, TaskKernels, register_task
from lnsim_gym.tasks.columns import SUCCEEDED
from lnsim_gym.tasks.loop import conclude_first, pay_in_parts, pay_in_whole, pay_linked, read, reset_range, step_range


class SkippingConfig(EnvironmentConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    failure_cost: float = 2.0
    """What a failed payment costs."""


class SendOrNot(ActionScheme):
    space = gym.spaces.Discrete(2)

    def decode(self, actions):
        return np.asarray(actions, np.int64)[:, None]


class LastStep(ObservationScheme):
    size, space = 1, gym.spaces.Box(0.0, 1.0, (1,), np.float32)


SkippingState = namedtuple("SkippingState", "failure_cost")
mine = reader(SkippingState(np.zeros(1)))


@outlined
def apply(address, task, index):
    read(address, "columns.due")[index] *= read(address, "columns.decision")[index, 0]


@outlined
def measure(address, task, index):
    settled = read(address, "columns.counts")[index, SUCCEEDED]
    failed = read(address, "columns.due")[index] - settled
    terms = read(address, "columns.terms")[index]
    terms[0], terms[1] = settled, failed
    read(address, "columns.reward")[index] = settled - mine(task, "failure_cost")[0] * failed


@outlined
def observe(address, task, index):
    payments = read(address, "columns.source").shape[1]
    read(address, "columns.observation")[index, 0] = read(address, "columns.counts")[index, SUCCEEDED] / payments
    read(address, "columns.allowed")[index, :] = 1


@kernel
def reset(address, task, begin, end):
    reset_range(observe, address, task, begin, end)


@kernel
def step(address, task, begin, end):
    step_range(apply, pay_in_whole, measure, observe, address, task, begin, end)


@kernel
def step_in_parts(address, task, begin, end):
    step_range(apply, pay_in_parts, measure, observe, address, task, begin, end)


@kernel
def step_linked(address, task, begin, end):
    step_range(apply, pay_linked, measure, observe, address, task, begin, end)


@kernel
def observe_first(address, task, begin, end):
    observe(address, task, begin)


@kernel
def conclude(address, task, begin, end):
    conclude_first(measure, observe, address, task)


@register_task
class SkippingTask(Task):
    name, Config, decision, terms, options = "skipping", SkippingConfig, ("send",), ("settled", "failed"), 2
    actions, observations = SendOrNot(), LastStep()
    kernels = TaskKernels(SkippingState(np.zeros(1)), reset, step, step_in_parts, step_linked, observe_first, conclude)

    def compiled_state(self, variants):
        return SkippingState(np.array([self.config.failure_cost]))

    def apply(self, backend, decision, noted):
        return (), self.config.payments_per_step * int(decision[0])

    def interventions(self, decision, noted):
        return ()
