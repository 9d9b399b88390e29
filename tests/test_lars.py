"""LARS, against what timm's and pytorch_optimizer's do: golden/regenerate_lars.py says how."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from bsscale.errors import ConfigError
from bsscale.optimizers import LarsConfig
from tests.published_traces import FORMS, Traces

TRACES = Traces("lars_traces.npz")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("number", "name"), TRACES.names)
def test_every_update_is_that_of_the_published_implementation(
    form: Any, number: int, name: str
) -> None:
    case, lr = TRACES.cases[number], TRACES.arrays["lr"]
    constant = np.full_like(lr, case.get("momentum", 0.9))
    momentum = TRACES.arrays["momentum"] if case.get("momentum_moves") else constant
    config = LarsConfig(
        trust_coefficient=case["trust"], eps=case["eps"], weight_decay=case["weight_decay"],
        nesterov=case.get("nesterov", False), momentum=case.get("momentum", 0.9),
    )  # fmt: skip
    TRACES.check(number, name, partial(form, config, (lr, momentum)))


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"trust_coefficient": 0.0}, "optimizer.trust_coefficient=0.0 is not a positive number"),
        ({"trust_coefficient": np.inf}, "optimizer.trust_coefficient=inf is not"),
        ({"eps": -1e-8}, "optimizer.eps=-1e-08 is not a number of 0 or more"),
        ({"nesterov": True, "momentum": 0.0}, "optimizer.nesterov=true with optimizer.momentum=0"),
        ({"sparse": True}, "optimizer.sparse=true with optimizer=lars"),
    ],
)
def test_what_is_refused(options: dict[str, Any], fact: str) -> None:
    with pytest.raises(ConfigError) as error:
        LarsConfig(**options).check()
    assert error.value.fact.startswith(fact) and error.value.remedy
