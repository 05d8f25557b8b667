"""Deep Q-learning in one file, to copy and change: ``python dqn.py --total-timesteps 200000``.

In the style of CleanRL, against Gymnasium 1.x: double Q-learning with a replay buffer, masks of the actions, truncated
episodes bootstrapped from their last observation.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import nn

import lnsim_gym


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--env-id", default="lnsim_gym:LightningNet-v0")
    parser.add_argument("--observation", default="flows", help="setting of the environment")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--total-timesteps", type=int, default=200_000)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--num-envs", type=int, default=32)
    parser.add_argument("--buffer-size", type=int, default=100_000)
    parser.add_argument("--gamma", type=float, default=0.9)
    parser.add_argument("--tau", type=float, default=0.01, help="share of the network that its slow copy takes over")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--start-e", type=float, default=1.0, help="share of actions by chance at first")
    parser.add_argument("--end-e", type=float, default=0.03)
    parser.add_argument("--exploration-fraction", type=float, default=0.2)
    parser.add_argument("--learning-starts", type=int, default=5_000)
    parser.add_argument("--gradient-steps", type=int, default=2, help="for each step of the vector environment")
    parser.add_argument("--evaluation-episodes", type=int, default=100)
    return parser.parse_args(arguments)


def make_network(size: int, actions: int) -> nn.Sequential:
    """Return a network that values each action."""
    return nn.Sequential(nn.Linear(size, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, actions))


class ReplayBuffer:
    """The last steps, each with the observation and the mask after it."""

    def __init__(self, capacity: int, size: int, actions: int) -> None:
        self.columns = {
            "observation": torch.zeros(capacity, size),
            "action": torch.zeros(capacity, 1, dtype=torch.long),
            "reward": torch.zeros(capacity),
            "after": torch.zeros(capacity, size),
            "mask": torch.zeros(capacity, actions, dtype=torch.bool),
            "terminated": torch.zeros(capacity),
        }
        self.capacity = capacity
        self.written = 0

    def add(self, **rows: torch.Tensor) -> None:
        """Write a row for each environment, over the oldest where there is no room."""
        count = len(rows["reward"])
        place = torch.arange(self.written, self.written + count) % self.capacity
        for name, values in rows.items():
            self.columns[name][place] = values.to(self.columns[name].dtype)
        self.written += count

    def sample(self, count: int) -> dict[str, torch.Tensor]:
        """Draw rows."""
        place = torch.randint(min(self.written, self.capacity), (count,))
        return {name: values[place] for name, values in self.columns.items()}


def best(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the allowed action of highest value, shape (n,)."""
    return values.masked_fill(~mask, -torch.inf).argmax(1)


def last_of(name: str, infos: dict[str, Any], now: np.ndarray) -> np.ndarray:
    """Return observations or masks as they were before episodes that ended were followed by new ones."""
    if "final_obs" not in infos:
        return now
    ended, last = infos["_final_obs"], now.copy()
    last[ended] = (
        np.stack(infos["final_obs"][ended]) if name == "observation" else infos["final_info"]["action_mask"][ended]
    )
    return last


def evaluate(network: nn.Module, args: argparse.Namespace) -> float:
    """Return the mean reward of a step over episodes that training never saw; by default payments that settle."""
    envs = gym.make_vec(args.env_id, num_envs=args.evaluation_episodes, observation=args.observation)
    limit = gym.spec(args.env_id.split(":")[-1]).max_episode_steps
    observation, infos = envs.reset(seed=2_000_000)
    total = 0.0
    with torch.no_grad():
        for _ in range(limit):
            mask = torch.from_numpy(infos["action_mask"]).bool()
            observation, reward, _, _, infos = envs.step(best(network(torch.from_numpy(observation)), mask).numpy())
            total += reward.mean()
    envs.close()
    return total / limit


def main(args: argparse.Namespace) -> float:
    """Train, and return what ``evaluate`` says of the network."""
    torch.manual_seed(args.seed)
    envs = gym.make_vec(args.env_id, num_envs=args.num_envs, autoreset_mode="SameStep", observation=args.observation)
    size, actions = envs.single_observation_space.shape[0], int(envs.single_action_space.n)
    network, slow = make_network(size, actions), make_network(size, actions)
    slow.load_state_dict(network.state_dict())
    optimizer = torch.optim.Adam(network.parameters(), lr=args.learning_rate)
    buffer = ReplayBuffer(args.buffer_size, size, actions)
    observation, infos = envs.reset(seed=args.seed)
    started, rewards = time.perf_counter(), []
    for step in range(0, args.total_timesteps, args.num_envs):
        progress = min(step / (args.exploration_fraction * args.total_timesteps), 1)
        epsilon = args.start_e + progress * (args.end_e - args.start_e)
        seen, mask = torch.from_numpy(observation), torch.from_numpy(infos["action_mask"])
        with torch.no_grad():
            action = best(network(seen), mask.bool())
        by_chance = torch.rand(args.num_envs) < epsilon
        action = torch.where(by_chance, torch.multinomial(mask.float(), 1).squeeze(1), action)
        observation, reward, terminated, _, infos = envs.step(action.numpy())
        buffer.add(
            observation=seen,
            action=action[:, None],
            reward=torch.from_numpy(reward),
            after=torch.from_numpy(last_of("observation", infos, observation)),
            mask=torch.from_numpy(last_of("mask", infos, infos["action_mask"])),
            terminated=torch.from_numpy(terminated),
        )
        rewards.append(reward.mean())
        if step >= args.learning_starts:
            for _ in range(args.gradient_steps):
                rows = buffer.sample(args.batch_size)
                with torch.no_grad():
                    following = best(network(rows["after"]), rows["mask"])[:, None]
                    later = slow(rows["after"]).gather(1, following).squeeze(1)
                    target = rows["reward"] + args.gamma * later * (1 - rows["terminated"])
                loss = nn.functional.smooth_l1_loss(
                    network(rows["observation"]).gather(1, rows["action"])[:, 0], target
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                with torch.no_grad():
                    for old, new in zip(slow.parameters(), network.parameters(), strict=True):
                        old.lerp_(new, args.tau)
        if len(rewards) % 500 == 0:
            pace = (step + args.num_envs) / (time.perf_counter() - started)
            print(f"step {step + args.num_envs:,}: mean reward {np.mean(rewards[-500:]):.3f}, {pace:,.0f} steps/s")
    envs.close()
    reached = evaluate(network, args)
    print(f"lnsim_gym {lnsim_gym.__version__}: mean reward {reached:.4f} in {args.evaluation_episodes} new episodes")
    return reached


if __name__ == "__main__":
    main(parse_args())
