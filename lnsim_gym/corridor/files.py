"""The file of a survey: a NumPy archive without pickled objects, written whole or not at all; and the user's cache."""

from __future__ import annotations

import hashlib
import io
import logging
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from lnsim_gym.compiled.cache import FINGERPRINT
from lnsim_gym.corridor.survey import Survey, require_surveyable, survey_episode
from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.paths import cache_dir, private_dir, write_private

__all__ = ["FORM", "kept_survey", "read_survey", "write_survey"]

_log = logging.getLogger(__name__)

FORM: Final = "lnsim corridor survey 1"
"""Names this form of the file; another one has another number."""


def write_survey(path: Path, survey: Survey) -> None:
    """Write a survey to a file that only its owner can read; what was there stays until it is whole.

    Raises:
        ConfigError: It cannot be written there.
    """
    content = io.BytesIO()
    np.savez_compressed(content, form=np.array(FORM), **survey._asdict())
    write_private(path, content.getvalue())


def read_survey(path: Path) -> Survey:
    """Read a survey.

    Raises:
        ConfigError: There is no such file, or it is cut off, damaged, of another form or of something else.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays: dict[str, Any] = dict(archive)
        form = str(arrays.pop("form", "another file"))
    except FileNotFoundError:
        raise ConfigError(f"expected a survey, got {path}, which does not exist: name one that was made") from None
    except Exception as problem:  # a damaged archive fails in many ways
        raise ConfigError(f"expected a survey, got {path}, which is none: {problem}; make it anew") from None
    if form != FORM or set(arrays) != set(Survey._fields):
        raise ConfigError(f"expected {FORM!r}, got {form!r} in {path}: make it anew with this version")
    return Survey(**{name: array[()] if array.ndim == 0 else array for name, array in arrays.items()})


def kept_survey(problem: Problem, seed: int, steps: int) -> Survey:
    """Return the survey of an episode from the user's cache, where it is put when it is not there yet.

    Args:
        problem: What is to be done.
        seed: Seed of the episode.
        steps: Steps of it.

    Raises:
        ConfigError: The problem cannot be surveyed, or the cache cannot be written.
    """
    require_surveyable(problem)
    path = private_dir(cache_dir() / "surveys" / _digest(problem)) / f"seed-{seed}-steps-{steps}.npz"
    if path.exists():
        try:
            return read_survey(path)
        except ConfigError:  # cut off, say: what can be made anew is
            _log.warning("%s is damaged, and is made anew", path)
    _log.info("surveying the episode of seed %d, which takes some seconds", seed)
    survey = survey_episode(problem, seed, steps)
    write_survey(path, survey)
    return survey


def _digest(problem: Problem) -> str:
    """Return a hash of all that surveys of a problem follow from: not how agents see it and act."""
    forms = {"topology": "", "action": "dict", "observation": "dict", "channel_rows": 0, "mask_in_observation": False}
    bounds = {"levers": ("fees",), "max_fee_rate_ppm": 1, "max_fee_base_msat": 0}
    plain = msgspec.structs.replace(problem.config, **forms, **bounds)
    content = FORM, FINGERPRINT, msgspec.to_builtins(plain), problem.topology.to_dict()
    return hashlib.blake2b(msgspec.json.encode(content), digest_size=10).hexdigest()
