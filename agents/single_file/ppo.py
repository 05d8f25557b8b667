"""Proximal policy optimisation in one file, to copy and change: ``python ppo.py --total-timesteps 200000``.

In the style of CleanRL, against Gymnasium 1.x: a vector environment, masks of the actions, truncated episodes
bootstrapped from their last observation.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

import lnsim_gym


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--env-id", default="lnsim_gym:LightningNet-v0")
    parser.add_argument("--observation", default="flows", help="setting of the environment")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--total-timesteps", type=int, default=400_000)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--num-steps", type=int, default=128, help="steps of each environment in a rollout")
    parser.add_argument("--gamma", type=float, default=0.95)
    parser.add_argument("--gae-lambda", type=float, default=0.9)
    parser.add_argument("--num-minibatches", type=int, default=4)
    parser.add_argument("--update-epochs", type=int, default=4)
    parser.add_argument("--clip-coef", type=float, default=0.2)
    parser.add_argument("--ent-coef", type=float, default=0.003)
    parser.add_argument("--vf-coef", type=float, default=0.5)
    parser.add_argument("--max-grad-norm", type=float, default=0.5)
    parser.add_argument("--evaluation-episodes", type=int, default=100)
    return parser.parse_args(arguments)


class Agent(nn.Module):
    """Two networks: what to do, and what that is worth."""

    def __init__(self, size: int, actions: int) -> None:
        super().__init__()
        self.actor = make_network(size, actions, std=0.01)
        self.critic = make_network(size, 1, std=1.0)

    def value(self, observation: torch.Tensor) -> torch.Tensor:
        """Return the value of observations, shape (n,)."""
        return self.critic(observation).squeeze(-1)

    def choice(self, observation: torch.Tensor, mask: torch.Tensor) -> Categorical:
        """Return the distribution over the actions that the mask allows."""
        return Categorical(logits=self.actor(observation).masked_fill(~mask, -1e9))


def make_network(size: int, out: int, std: float) -> nn.Sequential:
    """Return a network of two hidden layers, initialised orthogonally."""
    layers = [nn.Linear(size, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, out)]
    for layer, gain in zip(layers[::2], (np.sqrt(2), np.sqrt(2), std), strict=True):
        nn.init.orthogonal_(layer.weight, gain)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def tensors(observation: np.ndarray, infos: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return observations and masks as tensors."""
    return torch.from_numpy(observation), torch.from_numpy(infos["action_mask"]).bool()


def evaluate(agent: Agent, args: argparse.Namespace) -> float:
    """Return the mean reward of a step over episodes that training never saw; by default payments that settle."""
    envs = gym.make_vec(args.env_id, num_envs=args.evaluation_episodes, observation=args.observation)
    limit = gym.spec(args.env_id.split(":")[-1]).max_episode_steps
    observation, infos = envs.reset(seed=2_000_000)
    total = 0.0
    with torch.no_grad():
        for _ in range(limit):
            chosen = agent.choice(*tensors(observation, infos)).logits.argmax(1)
            observation, reward, _, _, infos = envs.step(chosen.numpy())
            total += reward.mean()
    envs.close()
    return total / limit


def main(args: argparse.Namespace) -> float:
    """Train, and return what ``evaluate`` says of the agent."""
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    envs = gym.make_vec(args.env_id, num_envs=args.num_envs, autoreset_mode="SameStep", observation=args.observation)
    agent = Agent(envs.single_observation_space.shape[0], int(envs.single_action_space.n))
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    observation, mask = tensors(*envs.reset(seed=args.seed))
    batch_size = args.num_envs * args.num_steps
    updates = args.total_timesteps // batch_size
    started = time.perf_counter()
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = (1 - update / updates) * args.learning_rate
        kept = []
        for _ in range(args.num_steps):
            with torch.no_grad():
                choice = agent.choice(observation, mask)
                action = choice.sample()
                log_prob, value = choice.log_prob(action), agent.value(observation)
            after, reward, terminated, truncated, infos = envs.step(action.numpy())
            reward = torch.from_numpy(reward).float()
            if truncated.any():  # the episode would have gone on: what comes after it counts too
                last = torch.from_numpy(np.stack(infos["final_obs"][truncated]))
                with torch.no_grad():
                    reward[torch.from_numpy(truncated)] += args.gamma * agent.value(last)
            ended = torch.from_numpy(terminated | truncated).float()
            kept.append((observation, mask, action, log_prob, value, reward, ended))
            observation, mask = tensors(after, infos)

        observations, masks, actions, log_probs, values, rewards, ends = map(torch.stack, zip(*kept, strict=True))
        with torch.no_grad():
            following = torch.cat([values[1:], agent.value(observation)[None]])
        advantages, later = torch.zeros_like(rewards), torch.zeros(args.num_envs)
        for step in reversed(range(args.num_steps)):
            delta = rewards[step] + args.gamma * following[step] * (1 - ends[step]) - values[step]
            advantages[step] = later = delta + args.gamma * args.gae_lambda * (1 - ends[step]) * later
        columns = [observations, masks, actions, log_probs, advantages, advantages + values]
        columns = [column.flatten(0, 1) for column in columns]

        for _ in range(args.update_epochs):
            for part in torch.randperm(batch_size).chunk(args.num_minibatches):
                seen, allowed, done, before, gain, target = (column[part] for column in columns)
                choice = agent.choice(seen, allowed)
                ratio = (choice.log_prob(done) - before).exp()
                gain = (gain - gain.mean()) / (gain.std() + 1e-8)
                clipped = ratio.clamp(1 - args.clip_coef, 1 + args.clip_coef)
                policy_loss = -torch.minimum(ratio * gain, clipped * gain).mean()
                value_loss = 0.5 * (agent.value(seen) - target).square().mean()
                loss = policy_loss - args.ent_coef * choice.entropy().mean() + args.vf_coef * value_loss
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
                optimizer.step()
        steps = (update + 1) * batch_size
        pace = steps / (time.perf_counter() - started)
        print(f"step {steps:,}: mean reward {rewards.mean():.3f}, {pace:,.0f} steps/s")
    envs.close()
    reached = evaluate(agent, args)
    print(f"lnsim_gym {lnsim_gym.__version__}: mean reward {reached:.4f} in {args.evaluation_episodes} new episodes")
    return reached


if __name__ == "__main__":
    main(parse_args())
