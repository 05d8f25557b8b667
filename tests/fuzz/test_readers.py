"""No reader of outside data crashes, hangs, or fails in words that are not ours."""

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutation import mutated
from tests.fuzz.readers import READERS, readers, workplace
from tests.fuzz.run import fuzz, outcome_of

pytestmark = pytest.mark.filterwarnings("ignore")
FOUND = sorted((Path(__file__).parent / "found").iterdir())
"""Inputs that were found, by the reader that they are for."""


@pytest.fixture(scope="module")
def folder():
    with workplace() as room:
        yield room


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=25, derandomize=True, suppress_health_check=list(HealthCheck))
@given(number=st.integers(0, 2**32))
def test_broken_data_is_refused_in_our_own_words(name, folder, number):
    reader = readers()[name]
    rng = random.Random(number)
    data = mutated(rng, rng.choice(reader.seeds), reader.seeds)
    assert outcome_of(reader, folder, data) == ""


@pytest.mark.parametrize("file", FOUND, ids=lambda file: file.name)
def test_what_was_found_is_refused_in_our_own_words(file, folder):
    assert outcome_of(readers()[file.name.rpartition("-")[0]], folder, file.read_bytes()) == ""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_more_broken_data_is_refused_in_our_own_words():
    counts, findings = fuzz(20, seconds=120, most=1500)  # with a seed of your own: python -m tests.fuzz
    assert not findings
    assert all(counts.values())
