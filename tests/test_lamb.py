"""LAMB, against what optax's and pytorch_optimizer's do: golden/regenerate_lamb.py says how."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from bsscale.optimizers import LambConfig
from tests.published_traces import FORMS, Traces

TRACES = Traces("lamb_traces.npz")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("number", "name"), TRACES.names)
def test_every_update_is_that_of_the_published_implementation(
    form: Any, number: int, name: str
) -> None:
    case, lr = TRACES.cases[number], TRACES.arrays["lr"]
    beta1 = TRACES.arrays["beta1"] if case["beta1_moves"] else np.full_like(lr, 0.9)
    config = LambConfig(eps=case["eps"], weight_decay=case["weight_decay"])
    TRACES.check(number, name, partial(form, config, (lr, beta1)))
