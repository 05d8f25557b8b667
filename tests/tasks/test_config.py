"""Settings are typed, unknown ones refused with a suggestion, and every environment file is valid."""

import json

import gymnasium as gym
import pytest

import lnsim_gym
from lnsim_gym.environment.files import environment_files, read_environment
from lnsim_gym.errors import ConfigError
from lnsim_gym.tasks.config import EnvironmentConfig, StartBalances
from lnsim_gym.traffic import ClassicTraffic, DriftTraffic

BAD_PAYMENT = [
    ("max_parts", 0),
    ("max_parts", -1),
    ("max_parts", 17),
    ("concurrency", 0),
    ("timeout_seconds", 0),
    ("fee_limit_ppm", -1),
    ("fee_limit_base_sat", -5),
]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"payment_per_step": 5}, "Did you mean 'payments_per_step'"),
        ({"payments_per_step": "five"}, "payments_per_step"),
        ({"payments_per_step": 0}, "1..1,000,000, got 0"),
        ({"traffic": "clasic"}, "Did you mean 'classic'"),
        ({"traffic": {"median_sat": 5}}, "Did you mean 'median_amount_sat'"),
        ({"backend": "lnb"}, "backend"),
        ({"action": "continuous"}, "action"),
        ({"start_balances": {"low": 0.9, "high": 0.1}}, "low <= high"),
        ({"payment": {"max_part": 4}}, "Did you mean 'max_parts'. Known here: .*timeout_seconds"),
        ({"max_parts": 2}, "There is 'payment.max_parts'. Known here: .*reward"),
        ({"action": "dicrete"}, "Did you mean 'discrete'. Known: box, dict, discrete, multidiscrete"),
        ({"payment": {"mission_control": "never"}}, "Known: per_episode, per_payment"),
        ({"traffic": {"kind": "drft"}}, "Did you mean 'drift'"),
        *(({"payment": {name: value}}, f"payment.{name} must lie in") for name, value in BAD_PAYMENT),
        ({"circular_max_hops": 2}, "3..8"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        EnvironmentConfig.of(settings)


def test_traffic_is_named_or_spelled_out():
    assert EnvironmentConfig.of({"traffic": "classic"}).traffic == ClassicTraffic()
    assert EnvironmentConfig.of({"traffic": {"median_amount_sat": 5}}).traffic == DriftTraffic(median_amount_sat=5)
    assert EnvironmentConfig.of({}).traffic == DriftTraffic()


def test_start_balances_are_those_of_the_topology_or_random():
    assert EnvironmentConfig.of({}).start_balances == "topology"
    assert EnvironmentConfig.of({"start_balances": {}}).start_balances == StartBalances()


def test_every_environment_file_is_registered_with_json_able_settings():
    files = environment_files()
    assert {"LightningNet-v0", "LightningNetClassic-v0", "LightningNetLive-v0"} <= {file.id for file in files}
    for file in files:
        spec = gym.spec(file.id)
        assert spec.max_episode_steps == file.max_episode_steps
        assert spec.nondeterministic == file.nondeterministic
        assert json.loads(spec.to_json())["kwargs"] == file.settings
        EnvironmentConfig.of(file.settings)


def test_registering_again_changes_nothing():
    before = dict(gym.registry)
    lnsim_gym.register_environments()
    assert dict(gym.registry) == before


def test_a_bad_environment_file_is_named(tmp_path):
    path = tmp_path / "Broken-v0.toml"
    path.write_text("payments_per_step = 3\n")
    with pytest.raises(ConfigError, match=r"Broken-v0\.toml.*'description' is missing"):
        read_environment(path)
    path.write_text("= 3\n")
    with pytest.raises(ConfigError, match=r"Broken-v0\.toml"):
        read_environment(path)
