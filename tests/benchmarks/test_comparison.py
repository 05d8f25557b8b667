"""A checkout is measured against another by turns, each in processes that import its own code."""

from pathlib import Path

import pytest

from lnsim_gym.benchmarks.checkout import THIS, Checkout
from lnsim_gym.benchmarks.comparison import Compared, compare_live, compare_simulators
from lnsim_gym.benchmarks.first_step import first_step
from lnsim_gym.compiled.cache import SHIPPED
from lnsim_gym.errors import ConfigError, LnsimError


def other_checkout(folder):
    """Make another folder that holds this package."""
    folder.mkdir()
    for name in ("lnsim_gym", "envs", "agents"):
        (folder / name).symlink_to(THIS.folder / name)
    return folder


def test_a_ratio_is_taken_within_each_round_and_shown_with_its_spread():
    compared = Compared.of(this=[10.0, 30.0, 24.0], other=[10.0, 20.0, 20.0])
    assert (compared.this, compared.other) == (24.0, 20.0)
    assert (compared.ratio_low, compared.ratio, compared.ratio_high) == (1.0, 1.2, 1.5)


@pytest.mark.slow
def test_this_code_is_measured_against_a_checkout_in_another_folder(tmp_path):
    report = compare_simulators(other_checkout(tmp_path / "other"), ["5"], rounds=1)
    assert report.against == str(tmp_path / "other")
    figure = report.figures["payments_per_second on 5"]
    assert figure.this > 0
    assert figure.ratio_low == figure.ratio == figure.ratio_high == pytest.approx(figure.this / figure.other)
    assert report.machine
    assert report.versions["numba"]


def test_real_nodes_are_compared_by_what_both_measure_on_the_same_network(tmp_path, monkeypatch):
    network = tmp_path / "network.toml"
    network.touch()
    monkeypatch.chdir(tmp_path)
    asked = []

    def bench(checkout, *arguments):
        asked.append((checkout, arguments))
        newer = {"payment_ms_per_s": 1.0} if checkout == THIS else {}
        return {"payments_per_s": 12.0 if checkout == THIS else 8.0, "nodes": 3, **newer}

    monkeypatch.setattr(Checkout, "bench", bench)
    other = other_checkout(tmp_path / "other")
    report = compare_live(other, "network.toml", "process", rounds=2)
    assert [checkout.folder for checkout, _ in asked] == [other, THIS.folder, THIS.folder, other]
    assert {arguments for _, arguments in asked} == {
        ("live", "--topology", str(network), "--launcher", "process"),
    }
    assert report.figures == {"payments_per_s": Compared.of([12.0] * 2, [8.0] * 2)}


def test_a_checkout_runs_its_own_code_wherever_that_lies(tmp_path):
    other = Checkout.at(other_checkout(tmp_path / "other"))
    for checkout in (THIS, other):
        imported = checkout.python("import lnsim_gym; print(lnsim_gym.__file__)")
        assert Path(imported.strip()).is_relative_to(checkout.folder)


def test_a_folder_without_the_package_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="found no lnsim_gym"):
        compare_simulators(tmp_path, ["5"], rounds=1)


def test_a_checkout_whose_benchmark_fails_is_named(tmp_path):
    with pytest.raises(LnsimError, match="unknown graphs 7"):
        Checkout.at(other_checkout(tmp_path / "other")).bench("simulator", "7")


@pytest.mark.slow
def test_the_first_step_takes_longer_with_an_empty_cache_unless_the_installation_brings_machine_code():
    figures = first_step(THIS, warm_runs=1)
    assert figures.warm_s > 0
    assert (figures.cold_s > 2 * figures.warm_s) is not SHIPPED.is_dir()
