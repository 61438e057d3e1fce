"""Confidence limits of a mean."""

import numpy as np
import pytest
from scipy import stats

from hybrid_lib.methods.limits import margin

ONE = 1 - 0.01 / 3


@pytest.mark.parametrize(
    ("law", "mean", "most"),
    [
        (lambda rng, n: rng.normal(5.0, 1.0, n), 5.0, 0.006),
        (lambda rng, n: rng.lognormal(0.0, 0.5, n), np.exp(0.125), 0.010),
        (lambda rng, n: rng.exponential(1.0, n), 1.0, 0.010),
    ],
    ids=["normal", "lognormal", "exponential"],
)
def test_the_limit_holds_as_often_as_it_says(law, mean, most):
    """Three deviations of 5,000 trials above the shares that the docstring gives; Student's limit is off by up to six times."""
    rng = np.random.default_rng(1)
    draws = law(rng, (5000, 32))
    below = np.mean([one.mean() + margin(one, ONE) < mean for one in draws])
    assert below <= most
    student = stats.t.ppf(ONE, 31) * draws.std(axis=1, ddof=1) / np.sqrt(32)
    assert below <= np.mean(draws.mean(axis=1) + student < mean)


def test_a_limit_turns_with_the_unit_and_not_with_the_origin():
    draws = np.random.default_rng(2).exponential(1.0, 32)
    first = margin(draws, ONE)
    assert margin(1e-9 * draws, ONE) == pytest.approx(1e-9 * first, rel=1e-9)
    assert margin(draws + 100.0, ONE) == pytest.approx(first, rel=1e-9)
    assert margin(-draws, ONE) == pytest.approx(stats.t.ppf(ONE, 31) * draws.std(ddof=1) / np.sqrt(32))
    assert margin(draws, ONE) > margin(-draws, ONE)


def test_equal_draws_leave_no_margin():
    assert margin(np.full(16, 0.3), ONE) <= 1e-15
    assert margin(np.zeros(16), ONE) == 0.0
