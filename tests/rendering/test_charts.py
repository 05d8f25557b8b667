"""Charts of scores and learning curves show every agent and every seed, and are the same for the same numbers."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs the extra 'render'")

from lnsim_gym.rendering.charts import draw_comparison, draw_curve


def test_a_comparison_names_every_agent_and_its_mean(tmp_path):
    rates = {"noop": [0.5, 0.5, 0.5], "targeted": [0.7, 0.8, 0.9]}
    interval = {"noop": (0.5, 0.5), "targeted": (0.72, 0.88)}
    for name in ("one.svg", "two.svg"):
        draw_comparison(tmp_path / name, rates, interval)
    drawn = (tmp_path / "one.svg").read_text()
    assert [text for text in ("noop", "targeted", "50.0", "80.0") if f"<!-- {text} -->" not in drawn] == []
    strip = re.compile(r"[pm][0-9a-f]{10}")  # names that matplotlib draws by chance
    assert strip.sub("", drawn) == strip.sub("", (tmp_path / "two.svg").read_text())


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_learning_curve_says_what_its_interval_is_over(tmp_path, seeds):
    rates = np.linspace(0.4, 0.7, 4 * seeds).reshape(seeds, 4)
    middle = rates.mean(axis=0)
    draw_curve(tmp_path / "curve.svg", "ppo", [0, 10, 20, 30], rates, middle - 0.05, middle + 0.05)
    said = "95 % interval over episodes" if seeds == 1 else "mean of 3 seeds with its 95 % interval"
    assert said in (tmp_path / "curve.svg").read_text()
