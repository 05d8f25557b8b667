"""Every notebook runs from top to bottom, and what it tells its readers holds."""

import json
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs the extra 'notebooks'")
nbclient = pytest.importorskip("nbclient", reason="needs the extra 'notebooks'")

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
STORED = sorted(FOLDER.glob("*.ipynb"))
CLAIMS = {
    "01_first_episode": """
assert idle_shares.shape == active_shares.shape == (101, 7)
assert (idle_shares[0] == active_shares[0]).all()
assert active_rates.mean() > idle_rates.mean() + 0.1
assert len(names) == env.action_space.n
""",
    "02_train_ppo": """
assert scores["PPO"].success_rate_low > scores["noop"].success_rate_high + 0.2
assert scores["PPO"].success_rate > scores["targeted"].success_rate
assert seconds < 120
assert curve.rates[-1] > curve.rates[0] + 0.1
for name, score in scores.items():
    assert abs(by_step[name].mean() / 100 - score.success_rate) < 0.02, name
""",
    "03_on_real_lnd": """
assert sim_actions == real_actions
assert sim_rewards == real_rewards
assert all(balances_equal for *_, balances_equal, _ in rows)
assert len(set(sim_rewards)) > 1 and any(sim_actions)
assert (simulated.render() == real.render()).all()
assert not any(answers(node) for node in nodes)
""",
    "04_outside_model": """
assert kept.mean() > idle.mean() + 0.1
assert learned.mean() > idle.mean() + 0.1
assert acknowledged["applied"] > 0.9 * STEPS
""",
    "05_every_node": """
rates = {name: rate.mean() for name, (rate, _) in results.items()}
assert rates["independent"] > rates["nobody acts"] + 0.2
assert rates["shared policy"] > rates["nobody acts"] + 0.15
assert rates["one sees all"] > rates["independent"]
""",
    "06_data_sets": """
assert agreement > 0.5
assert scores["cloned"].success_rate > scores["targeted"].success_rate - 0.02
assert scores["conservative Q"].success_rate_low > scores["random"].success_rate_high + 0.05
""",
    "07_like_real_nodes": """
assert len(found.bands) == len(BANDS) == len(axes.get_yticks())
assert all(each.source for each in found.bands)
assert all(np.isfinite(values).all() and len(values) == 2 for values in found.episodes.values())
assert {each.name for each in found.bands if each.met} >= {"top_two_share", "mean_fee"}
""",
}
"""By notebook, what is asserted of its variables after its last cell."""


def cell_outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def test_every_notebook_is_tested():
    assert [path.stem for path in STORED] == sorted(CLAIMS)


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_stored_notebook_was_run_in_order_and_tells_nothing_of_the_machine(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    outputs = cell_outputs(notebook)
    assert all(output.output_type != "error" and output.get("name") != "stderr" for output in outputs)
    assert any("image/svg+xml" in output.get("data", {}) for output in outputs)
    assert not re.search(r"/(home|root|tmp|work|Users|usr)/", json.dumps(outputs))
    assert path.stat().st_size < 300_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.lnd) if "lnd" in name else name for name in CLAIMS],
)
def test_a_notebook_runs_and_keeps_its_claims(name, request, monkeypatch, tmp_path):
    if "lnd" in name:
        request.getfixturevalue("lnd_binaries")
    monkeypatch.setenv("LNSIM_STATE_DIR", str(tmp_path / "state"))
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(CLAIMS[name]))
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    figures = [output for output in cell_outputs(notebook) if "image/svg+xml" in output.get("data", {})]
    assert figures
