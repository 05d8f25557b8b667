"""What needs torch lies in ``agents.learning``, and nothing else loads it."""

import subprocess
import sys

import pytest

PROGRAMS = {
    "import": "import lnsim_gym.agents",
    "rule": """
import gymnasium as gym
import lnsim_gym
from lnsim_gym.agents import make_agent
from lnsim_gym.agents.play import play
env = gym.make("LightningNet-v0", payments_per_step=1)
assert len(list(play(env, make_agent("targeted", env.unwrapped.problem), 2, seed=0))) == 2
""",
    "recipe of a trained agent": "from lnsim_gym.agents import view_of; view_of('dpi')",
    "features": "import lnsim_gym.agents.features, lnsim_gym.agents.search, lnsim_gym.agents.evaluate",
}


@pytest.mark.slow
def test_shipped_policies_play_the_same_without_torch():
    program = """
import sys
if {without}:
    sys.modules["torch"] = None
import gymnasium as gym
import lnsim_gym
from lnsim_gym.agents import make_agent, view_of
from lnsim_gym.agents.play import play
for name in ("ppo", "dpi", "dpi_random"):
    env = gym.make("LightningNet-v0", **view_of(name))
    print([reward for reward, _ in play(env, make_agent(name, env.unwrapped.problem), 60, seed=0)])
"""
    plain, torch = (
        subprocess.run(
            [sys.executable, "-c", program.format(without=without)], capture_output=True, text=True, check=True
        )
        for without in (True, False)
    )
    assert plain.stdout == torch.stdout


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_agents_that_do_not_learn_load_neither_torch_nor_stable_baselines3(program):
    check = "import sys; print(sorted({'torch', 'stable_baselines3', 'sb3_contrib'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", f"{program}\n{check}"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
