"""Scaling rules: values, and what they have in common."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bsscale.errors import ConfigError
from bsscale.schedules import scaling

Rule = Callable[[float, float], float]
RULES: tuple[Rule, ...] = (scaling.unscaled, scaling.linear, scaling.sqrt)

rates = st.floats(1e-9, 1e3)
ratios = st.floats(1e-3, 1e6)


def test_golden_values() -> None:
    assert scaling.unscaled(0.1, 4) == 0.1
    assert scaling.linear(0.1, 4) == 0.4
    assert scaling.sqrt(0.1, 4) == 0.2


@pytest.mark.parametrize("rule", RULES)
@given(rate=rates)
def test_the_same_batch_keeps_the_rate(rule: Rule, rate: float) -> None:
    assert rule(rate, 1) == rate


@pytest.mark.parametrize("rule", RULES)
@given(rate=rates, first=ratios, second=ratios)
def test_two_moves_are_one(rule: Rule, rate: float, first: float, second: float) -> None:
    assert math.isclose(rule(rule(rate, first), second), rule(rate, first * second), rel_tol=1e-12)


@given(rate=rates, ratio=st.floats(1, 1e6))
def test_the_square_root_lies_between(rate: float, ratio: float) -> None:
    rules = (scaling.unscaled, scaling.sqrt, scaling.linear)
    low, between, high = (rule(rate, ratio) for rule in rules)
    assert low <= between <= high


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("wrong", [0.0, -1.0, math.inf, math.nan])
def test_rejected_input(rule: Rule, wrong: float) -> None:
    with pytest.raises(ConfigError, match="base_lr is") as error:
        rule(wrong, 2)
    assert error.value.remedy
    with pytest.raises(ConfigError, match="ratio of the batches is") as error:
        rule(0.1, wrong)
    assert error.value.remedy
