"""A task that changes policies: the agent sets the fee of one direction and is paid what its node earns."""

from typing import NamedTuple

import gymnasium as gym
import numpy as np

from lnsim_gym.backends.interventions import PolicyChange
from lnsim_gym.backends.simulator.engine import Terms
from lnsim_gym.compiled import kernel, outlined
from lnsim_gym.network import Policy
from lnsim_gym.tasks import ActionScheme, EnvironmentConfig, ObservationScheme, Task, TaskKernels, register_task
from lnsim_gym.tasks.loop import (
    conclude_first,
    network_of,
    pay_in_whole,
    pay_on_any,
    read,
    reset_range,
    set_policy,
    step_range,
)

FEES_MSAT = (0, 500, 5_000, 50_000)
DIRECTION = 2
POLICY = Policy(fee_rate_ppm=0, time_lock_delta=40, min_htlc_msat=1, max_htlc_msat=990_000_000)


class PricingConfig(EnvironmentConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class PricingState(NamedTuple):
    unused: int


class Fees(ActionScheme):
    space = gym.spaces.Discrete(len(FEES_MSAT))

    def decode(self, actions):
        return np.array(FEES_MSAT)[np.asarray(actions)][:, None]

    def mask(self, allowed):
        return allowed.copy()


class OwnEnd(ObservationScheme):
    size = 1
    space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)


@outlined
def apply(address, task, index):
    fee_base_msat = read(address, "columns.decision")[index, 0]
    set_policy(address, index, DIRECTION, Terms(fee_base_msat, 0, 40, 1, 990_000_000, 0, 0, 0))
    read(address, "columns.counts")[index, -1] = fee_base_msat


@outlined
def measure(address, task, index):
    node = network_of(address, index).source[DIRECTION]
    read(address, "columns.terms")[index, 0] = read(address, "columns.earned_msat")[index, node]
    read(address, "columns.reward")[index] = read(address, "columns.earned_msat")[index, node]


@outlined
def observe(address, task, index):
    share = read(address, "columns.balances_msat")[index, DIRECTION] / 1e9
    read(address, "columns.observation")[index, 0] = np.float32(share)
    read(address, "columns.allowed")[index, :] = 1


@kernel
def reset(address, task, begin, end):
    reset_range(observe, address, task, begin, end)


@kernel
def step(address, task, begin, end):
    step_range(apply, pay_in_whole, measure, observe, address, task, begin, end)


@kernel
def step_on_any(address, task, begin, end):
    step_range(apply, pay_on_any, measure, observe, address, task, begin, end)


@kernel
def observe_first(address, task, begin, end):
    observe(address, task, begin)


@kernel
def conclude(address, task, begin, end):
    conclude_first(measure, observe, address, task)


@register_task
class PricingTask(Task):
    name = "pricing"
    Config = PricingConfig
    decision = ("fee_base_msat",)
    terms = ("earned_msat",)
    ledger = ("fee_base_msat",)
    options = len(FEES_MSAT)
    changes_policies = counts_earnings = True
    actions = Fees()
    observations = OwnEnd()
    kernels = TaskKernels(PricingState(0), reset, step, step_on_any, observe_first, conclude)

    def compiled_state(self, variants):
        return PricingState(0)

    def apply(self, backend, decision, noted):
        done = self.interventions(decision, noted)
        backend.set_policy(done[0].direction, done[0].policy)
        noted[0] = decision[0]
        return done, self.config.payments_per_step

    def interventions(self, decision, noted):
        policy = Policy(
            **{**{f: getattr(POLICY, f) for f in POLICY.__struct_fields__}, "fee_base_msat": int(decision[0])}
        )
        return (PolicyChange(DIRECTION, policy),)
