"""What the training of one seed leaves in its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["TrainingFolder"]


@dataclass(frozen=True)
class TrainingFolder:
    """The folder of the training of one seed."""

    path: Path

    @property
    def policy(self) -> Path:
        """The policy file."""
        return self.path / "policy.npz"

    @property
    def report(self) -> Path:
        """The report, as JSON."""
        return self.path / "report.json"

    @property
    def log(self) -> Path:
        """A log for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints, each called by its steps."""
        return self.path / "checkpoints"

    def last_checkpoint(self) -> Path | None:
        """Return the folder of the last checkpoint, if there is one."""
        return max(self.checkpoints.glob("[0-9]*"), default=None)
