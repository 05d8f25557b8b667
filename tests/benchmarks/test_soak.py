"""Long runs: what is said of a series, how samples are kept, and that what was measured is told after Ctrl-C, too."""

import msgspec
import numpy as np
import pytest

from lnsim_gym.benchmarks.soak.run import Soak
from lnsim_gym.benchmarks.soak.samples import MOST_SAMPLES, Samples
from lnsim_gym.benchmarks.soak.subjects import Simulator, Stream, Subject
from lnsim_gym.benchmarks.soak.trend import trend_of

HOURS = np.linspace(0, 3600, 400)


def noise(correlation, seed=0):
    rng = np.random.default_rng(seed)
    values = np.zeros(len(HOURS))
    for place in range(1, len(values)):
        values[place] = correlation * values[place - 1] + rng.normal()
    return values


def test_a_series_that_stands_still_has_no_slope():
    trend = trend_of(HOURS, np.full(400, 12.0))
    assert (trend.per_hour, trend.low_per_hour, trend.high_per_hour) == (0, 0, 0)
    assert trend.verdict == "indistinguishable from zero"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_leak_is_told_with_its_size(sign):
    trend = trend_of(HOURS, 100 + sign * 5 * HOURS / 3600 + 0.5 * noise(0.3))
    assert trend.verdict == ("rises" if sign > 0 else "falls")
    assert trend.low_per_hour < sign * 5 < trend.high_per_hour


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_noise_is_taken_for_a_slope_as_rarely_as_the_interval_says(correlation):
    verdicts = [trend_of(HOURS, noise(correlation, seed)).verdict for seed in range(200)]
    assert sum(verdict in ("rises", "falls") for verdict in verdicts) <= 14


@pytest.mark.parametrize("count", [0, 1, 4])
def test_nothing_is_said_of_a_few_samples(count):
    assert trend_of(HOURS[:count], HOURS[:count]).verdict == "too few samples"


def test_nothing_is_said_of_a_series_that_only_wanders():
    assert trend_of(HOURS, np.sin(np.pi * HOURS / 3600)).verdict == "too few samples"


def test_samples_of_a_run_of_any_length_are_bounded_and_even():
    samples = Samples()
    for half_seconds in range(40_000):
        if samples.is_due(half_seconds / 2):
            samples.add(half_seconds / 2, {"a": float(half_seconds)})
    assert MOST_SAMPLES / 2 <= len(samples.elapsed_s) < MOST_SAMPLES
    assert len(set(np.diff(samples.elapsed_s))) == 1
    assert samples.columns["a"] == [2 * elapsed_s for elapsed_s in samples.elapsed_s]


class Interrupted(Subject):
    """Makes some steps, and is then interrupted as by Ctrl-C."""

    made = 0

    def step(self):
        self.made += 1
        if self.made > 50:
            raise KeyboardInterrupt
        return 2

    def close(self):
        pass


def test_what_was_measured_before_ctrl_c_is_kept():
    run = Soak(Interrupted(), seconds=3600.0)
    told = []
    run.run(told.append)
    found = run.found()
    assert (found.steps, found.complete) == (2 * 46, False)
    assert len(found.elapsed_s) == len(told) > 0
    assert set(found.trends) == set(found.samples) >= {"own_memory_mib", "own_descriptors", "own_threads"}


def test_the_simulator_is_run_for_the_steps_asked():
    with Simulator("LightningNet-v0", 4) as subject:
        run = Soak(subject, steps=2_000)
        run.run()
    found = run.found()
    assert found.complete
    assert 2_000 <= found.steps < 2_004
    assert found.samples["own_threads"][0] >= 1


@pytest.mark.parametrize(("mib_an_hour", "grows"), [(5.0, ["own_memory_mib"]), (0.5, [])])
def test_memory_that_rises_by_less_than_a_mebibyte_is_no_leak(mib_an_hour, grows):
    with Simulator("LightningNet-v0", 4) as subject:
        run = Soak(subject, steps=20)
        run.run()
    trend = trend_of(HOURS, 100 + mib_an_hour * HOURS / 3600)
    assert trend.verdict == "rises"
    found = msgspec.structs.replace(run.found(), trends={"own_memory_mib": trend}, elapsed_s=HOURS.tolist())
    assert found.grows == grows


def test_clients_of_a_stream_tell_what_they_received():
    with Stream(2, 0.0) as subject:
        run = Soak(subject, steps=300)
        run.run()
        last = subject.figures()
    assert run.found().lost == 0
    assert last["clients"] == 2
    assert run.found().samples["messages_per_s"][0] > 0
