"""Merging of random structures: the outputs are equal, or the reason for not merging is right."""

from collections import Counter

import jax
import pytest
from helpers.merge_checks import check_merge
from helpers.structures import structures
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import seed as with_seed
from hypothesis import strategies as st


def count_outcomes(count, decorator=lambda test: test):
    """Check a number of structures with several layers, and count the outcomes of each kind."""
    outcomes = Counter()

    @decorator
    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
    @given(structures(), st.integers(0, 2**16))
    def check(model, seed):
        outcome = check_merge(model, seed)
        assert not outcome.fault
        assume(outcome.kind in ("not mergeable", "merged in parts", "merged whole"))
        outcomes[outcome.kind] += 1
        if outcomes.total() % 500 == 0:
            jax.clear_caches()  # Few structures share programs, which would fill the memory.
            print(dict(outcomes), flush=True)

    check()
    return outcomes


def test_structures_are_merged_or_not_mergeable():
    assert count_outcomes(25).total() >= 25


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_ten_thousand_structures(part):
    """The structures are checked in four parts, each of which has enough of every outcome."""
    outcomes = count_outcomes(2_500, decorator=with_seed(part))
    assert outcomes.total() >= 2_500
    assert outcomes["merged whole"] >= 125
    assert outcomes["merged in parts"] >= 125
    assert outcomes["not mergeable"] >= 750
