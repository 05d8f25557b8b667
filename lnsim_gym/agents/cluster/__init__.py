"""Evaluating, training and tuning agents on a Ray cluster, with the results of one process."""

from lnsim_gym.agents.cluster.connection import RETRIES, joined
from lnsim_gym.agents.cluster.evaluation import evaluate_on_cluster, play_on_cluster
from lnsim_gym.agents.cluster.tuning import Space, search_on_cluster

__all__ = ["RETRIES", "Space", "evaluate_on_cluster", "joined", "play_on_cluster", "search_on_cluster"]
