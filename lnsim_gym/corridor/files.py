"""The file of a survey: a NumPy archive without pickled objects, written whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

import numpy as np

from lnsim_gym.corridor.survey import Survey
from lnsim_gym.errors import ConfigError
from lnsim_gym.paths import write_private

__all__ = ["FORM", "read_survey", "write_survey"]

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
