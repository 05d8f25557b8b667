"""Flows that are listed: who pays whom how often, from a list or a file."""

import json

import numpy as np
import pytest

from lnsim_gym.episodes import Problem
from lnsim_gym.errors import ConfigError
from lnsim_gym.network.public import public
from lnsim_gym.tasks.config import EnvironmentConfig
from lnsim_gym.traffic import Flow, FlowsTraffic
from lnsim_gym.traffic.flows import DAY_MS, batch_of
from lnsim_gym.traffic.listed import compile_flows, read_flows
from lnsim_gym.traffic.models import compile_traffic

TOPOLOGY = public(nodes=60, own_channels=5, own_capacity_sat=20_000_000, seed=1)
FIRST, SECOND, THIRD = TOPOLOGY.nodes[:3]
FLOWS = [
    {"sender": FIRST, "receiver": SECOND, "payments_per_day": 30, "median_amount_sat": 1_000, "fee_limit_ppm": 700},
    {"sender": SECOND, "receiver": THIRD, "payments_per_day": 10, "median_amount_sat": 50_000, "active_share": 0.5},
]


def drawn(model: FlowsTraffic, days: int):
    """Return sender, amount in msat and fee limit of all payments of some days."""
    program = compile_flows(model, TOPOLOGY, DAY_MS)
    batches = [batch_of(program, 1_000, 7, 0, day) for day in range(days)]
    return (
        np.concatenate([column(batch) for batch in batches])
        for column in (lambda one: one[0].source, lambda one: one[0].amount_msat, lambda one: one[2])
    )


def test_each_flow_pays_as_often_and_as_much_as_it_says():
    sender, amount_msat, limit_ppm = drawn(FlowsTraffic(flows=read_flows_of(FLOWS)), 400)
    counts = np.array([(sender == place).sum() for place in (0, 1)]) / 400
    assert counts == pytest.approx([30, 10], rel=0.1)
    assert set(amount_msat[sender == 0].tolist()) == {1_000_000}
    assert set(limit_ppm[sender == 0].tolist()) == {700}
    assert set(limit_ppm[sender == 1].tolist()) == {1_000_000}


def read_flows_of(rows):
    return tuple(Flow(**row) for row in rows)


def test_a_file_lists_the_same(tmp_path):
    path = tmp_path / "flows.json"
    path.write_text(json.dumps(FLOWS))
    assert read_flows(str(path)) == read_flows_of(FLOWS)
    settings = {"task": "operator", "topology": TOPOLOGY, "traffic": {"kind": "flows", "flows": str(path)}}
    task = Problem.of(EnvironmentConfig.of(settings)).task
    assert task.flows.source.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("flows", "complaint"),
    [
        ([], "needs a flow with payments_per_day above 0"),
        ([{**FLOWS[0], "payments_per_day": 0}], "needs a flow with payments_per_day above 0"),
        ([{**FLOWS[0], "receiver": FIRST}], "to itself"),
        ([{**FLOWS[0], "sender": "nobody"}], "a node 'nobody' that the network lacks"),
        ([FLOWS[0], {**FLOWS[0], "payments_per_day": -1}], r"flows\[1\].payments_per_day must lie in"),
    ],
)
def test_what_is_no_flow_is_refused(flows, complaint):
    with pytest.raises(ConfigError, match=complaint):
        compile_flows(FlowsTraffic(flows=read_flows_of(flows)), TOPOLOGY, DAY_MS)


@pytest.mark.parametrize("text", ["[{}]", "{", '[{"sender": 1}]'])
def test_a_file_that_lists_none_is_refused(tmp_path, text):
    path = tmp_path / "flows.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"flows\.json"):
        read_flows(str(path))
    with pytest.raises(ConfigError, match="expected a JSON file"):
        read_flows(str(tmp_path / "missing.json"))


def test_only_the_operator_has_them():
    with pytest.raises(ConfigError, match=r"traffic 'flows' .* needs task='operator'"):
        compile_traffic(FlowsTraffic(flows=read_flows_of(FLOWS)), TOPOLOGY)
