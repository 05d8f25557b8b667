"""Soft actor-critic in one file, to copy and change: ``python sac.py --total-timesteps 200000``.

In the style of CleanRL, against Gymnasium 1.x, over the continuous actions of the environment (``action="box"``):
one number for each channel, of which the largest acts.
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
    parser.add_argument("--tau", type=float, default=0.01, help="share of the critics that their slow copies take over")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--learning-starts", type=int, default=5_000)
    parser.add_argument("--gradient-steps", type=int, default=2, help="for each step of the vector environment")
    parser.add_argument("--alpha", type=float, default=0.001, help="what entropy is worth")
    parser.add_argument("--evaluation-episodes", type=int, default=100)
    return parser.parse_args(arguments)


def make_network(size: int, out: int) -> nn.Sequential:
    """Return a network of two hidden layers."""
    return nn.Sequential(nn.Linear(size, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, out))


class Actor(nn.Module):
    """Draws actions from a Gaussian, squashed into -1..1."""

    def __init__(self, size: int, actions: int) -> None:
        super().__init__()
        self.network = make_network(size, 2 * actions)

    def forward(self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return drawn actions, the logarithm of their density, and the actions in the middle."""
        mean, log_std = self.network(observation).chunk(2, dim=-1)
        gaussian = torch.distributions.Normal(mean, log_std.clamp(-5, 2).exp())
        drawn = gaussian.rsample()
        action = torch.tanh(drawn)
        log_prob = gaussian.log_prob(drawn) - torch.log(1 - action.square() + 1e-6)
        return action, log_prob.sum(-1), torch.tanh(mean)


class Critics(nn.Module):
    """Two networks that value observations with actions; the lower one counts."""

    def __init__(self, size: int, actions: int) -> None:
        super().__init__()
        self.networks = nn.ModuleList(make_network(size + actions, 1) for _ in range(2))

    def forward(self, observation: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """Return both values, shape (2, n)."""
        both = torch.cat([observation, action], dim=-1)
        return torch.stack([network(both).squeeze(-1) for network in self.networks])


class ReplayBuffer:
    """The last steps, each with the observation after it."""

    def __init__(self, capacity: int, size: int, actions: int) -> None:
        shapes = {"observation": (size,), "action": (actions,), "reward": (), "after": (size,), "terminated": ()}
        self.columns = {name: torch.zeros(capacity, *shape) for name, shape in shapes.items()}
        self.capacity = capacity
        self.written = 0

    def add(self, **rows: torch.Tensor) -> None:
        """Write a row for each environment, over the oldest where there is no room."""
        count = len(rows["reward"])
        place = torch.arange(self.written, self.written + count) % self.capacity
        for name, values in rows.items():
            self.columns[name][place] = values.float()
        self.written += count

    def sample(self, count: int) -> dict[str, torch.Tensor]:
        """Draw rows."""
        place = torch.randint(min(self.written, self.capacity), (count,))
        return {name: values[place] for name, values in self.columns.items()}


def last_observation(infos: dict[str, Any], now: np.ndarray) -> np.ndarray:
    """Return observations as they were before episodes that ended were followed by new ones."""
    if "final_obs" not in infos:
        return now
    ended, last = infos["_final_obs"], now.copy()
    last[ended] = np.stack(infos["final_obs"][ended])
    return last


def evaluate(actor: Actor, args: argparse.Namespace) -> float:
    """Return the mean reward of a step over episodes that training never saw; by default payments that settle."""
    envs = gym.make_vec(args.env_id, num_envs=args.evaluation_episodes, observation=args.observation, action="box")
    limit = gym.spec(args.env_id.split(":")[-1]).max_episode_steps
    observation, _ = envs.reset(seed=2_000_000)
    total = 0.0
    with torch.no_grad():
        for _ in range(limit):
            _, _, action = actor(torch.from_numpy(observation))
            observation, reward, *_ = envs.step(action.numpy())
            total += reward.mean()
    envs.close()
    return total / limit


def main(args: argparse.Namespace) -> float:
    """Train, and return what ``evaluate`` says of the actor."""
    torch.manual_seed(args.seed)
    envs = gym.make_vec(
        args.env_id, num_envs=args.num_envs, autoreset_mode="SameStep", observation=args.observation, action="box"
    )
    size, actions = envs.single_observation_space.shape[0], envs.single_action_space.shape[0]
    actor, critics, slow = Actor(size, actions), Critics(size, actions), Critics(size, actions)
    slow.load_state_dict(critics.state_dict())
    actor_optimizer = torch.optim.Adam(actor.parameters(), lr=args.learning_rate)
    critic_optimizer = torch.optim.Adam(critics.parameters(), lr=args.learning_rate)
    buffer = ReplayBuffer(args.buffer_size, size, actions)
    envs.action_space.seed(args.seed)
    observation, _ = envs.reset(seed=args.seed)
    started, rewards = time.perf_counter(), []
    for step in range(0, args.total_timesteps, args.num_envs):
        seen = torch.from_numpy(observation)
        if step < args.learning_starts:
            action = torch.from_numpy(envs.action_space.sample())
        else:
            with torch.no_grad():
                action, *_ = actor(seen)
        observation, reward, terminated, _, infos = envs.step(action.numpy())
        buffer.add(
            observation=seen,
            action=action,
            reward=torch.from_numpy(reward),
            after=torch.from_numpy(last_observation(infos, observation)),
            terminated=torch.from_numpy(terminated),
        )
        rewards.append(reward.mean())
        if step >= args.learning_starts:
            for _ in range(args.gradient_steps):
                rows = buffer.sample(args.batch_size)
                with torch.no_grad():
                    following, log_prob, _ = actor(rows["after"])
                    later = slow(rows["after"], following).amin(0) - args.alpha * log_prob
                    target = rows["reward"] + args.gamma * later * (1 - rows["terminated"])
                critic_loss = (critics(rows["observation"], rows["action"]) - target).square().mean(1).sum()
                critic_optimizer.zero_grad()
                critic_loss.backward()
                critic_optimizer.step()
                drawn, log_prob, _ = actor(rows["observation"])
                actor_loss = (args.alpha * log_prob - critics(rows["observation"], drawn).amin(0)).mean()
                actor_optimizer.zero_grad()
                actor_loss.backward()
                actor_optimizer.step()
                with torch.no_grad():
                    for old, new in zip(slow.parameters(), critics.parameters(), strict=True):
                        old.lerp_(new, args.tau)
        if len(rewards) % 500 == 0:
            pace = (step + args.num_envs) / (time.perf_counter() - started)
            print(f"step {step + args.num_envs:,}: mean reward {np.mean(rewards[-500:]):.3f}, {pace:,.0f} steps/s")
    envs.close()
    reached = evaluate(actor, args)
    print(f"lnsim_gym {lnsim_gym.__version__}: mean reward {reached:.4f} in {args.evaluation_episodes} new episodes")
    return reached


if __name__ == "__main__":
    main(parse_args())
