"""`lnsim soak` and `lnsim bench conservation` write what they found, and go on from it."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("matplotlib", reason="needs the extra 'render'")

OWN = ("own_memory_mib", "own_descriptors", "own_threads")


def test_a_soak_writes_figures_and_a_plot(lnsim, tmp_path):
    status, out, _ = lnsim("soak", "simulator", "--steps", "200", "--num-envs", "4", "--out", tmp_path)
    assert "own_memory_mib" in out
    written = json.loads((tmp_path / "soak.json").read_bytes())
    assert written["steps"] >= 200
    assert (tmp_path / "soak.png").stat().st_size > 10_000
    assert status == any(written["trends"][name]["verdict"] == "rises" for name in OWN)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_conservation_holds_and_a_run_goes_on_from_its_file(lnsim, tmp_path):
    out = tmp_path / "networks.jsonl"
    command = ("bench", "conservation", "--processes", "1", "--seed", "11", "--out", out, "--json")
    status, said, _ = lnsim(*command, "--payments", "80000")
    assert (status, json.loads(said)["wrong"]) == (0, [])
    assert json.loads(said)["payments"] >= 80_000
    lines = out.read_bytes().splitlines()
    status, said, _ = lnsim(*command, "--payments", "80000")
    assert out.read_bytes().splitlines() == lines
    assert json.loads(said)["complete"]
