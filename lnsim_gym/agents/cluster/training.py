"""Training recipes on the workers of a cluster, one seed each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import ray

from lnsim_gym.agents.cluster.connection import RETRIES
from lnsim_gym.agents.learning.training.folder import TrainingFolder
from lnsim_gym.agents.learning.training.report import TrainingReport
from lnsim_gym.agents.learning.training.train import train
from lnsim_gym.agents.recipe import TrainedRecipe

__all__ = ["train_on_cluster"]


def train_on_cluster(
    name: str, recipe: TrainedRecipe, folders: Mapping[int, TrainingFolder], **options: Any
) -> Iterator[TrainingReport]:
    """Train a recipe with several seeds, one on a worker; policies are those of ``train`` to the last bit.

    A training whose worker dies goes on from its last checkpoint on another.

    Args:
        name: How to call the agent.
        recipe: What to train.
        folders: Where everything goes, by seed; all machines of the cluster must see them under the same paths.
        **options: Further arguments of ``train``.

    Yields:
        Reports, as trainings end.
    """
    pending = [
        _train.remote(name, recipe, seed, TrainingFolder(folder.path.resolve()), options)
        for seed, folder in folders.items()
    ]
    while pending:
        ready, pending = ray.wait(pending)
        yield from ray.get(ready)


@ray.remote(max_retries=RETRIES)  # type: ignore[untyped-decorator]
def _train(
    name: str, recipe: TrainedRecipe, seed: int, folder: TrainingFolder, options: Mapping[str, Any]
) -> TrainingReport | None:
    """Train one seed, from its last checkpoint on where there is one."""
    return train(name, recipe, seed, folder, resume=folder.last_checkpoint() is not None, **options)
