"""Outputs that a device judges for all runs at once have the metrics that NumPy gives each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bsscale.data import Samples
from bsscale.engines.outputs import HostOutputs
from bsscale.engines.stacked.held_out import DeviceOutputs, HeldOut
from bsscale.objectives import Binary, Metric, Objective, Regression, torch_form
from bsscale.objectives.binary import roc_auc
from tests.objectives_of_users import FromScratch, Huber, Softplus, within_one

FLOATS = hnp.from_dtype(np.dtype(np.float32), allow_nan=False, allow_infinity=False)
EXACT = ("auc", "accuracy")


def samples_of(label: Any) -> Samples:
    none = np.empty((len(label), 0))
    return Samples(none.astype(np.int32), none.astype(np.float32), np.asarray(label, np.float32))


def both(
    objective: Objective, label: Any, outputs: Any, dtype: torch.dtype = torch.float32
) -> tuple[HostOutputs, DeviceOutputs]:
    split = samples_of(label)
    on_device = torch.from_numpy(np.asarray(outputs)).to(dtype)
    held_out = HeldOut(split, torch.device("cpu"), dtype, objective)
    return (
        HostOutputs(split.label, on_device.double().numpy()),
        DeviceOutputs(held_out, on_device),
    )


def assert_equal(objective: Objective, host: HostOutputs, device: DeviceOutputs, runs: int) -> None:
    for slot in range(runs):
        expected, found = host.metrics(slot, objective), device.metrics(slot, objective)
        assert list(found) == list(expected)
        for name, value in expected.items():
            if value is None or name in EXACT:
                assert found[name] == value, name
            else:
                assert found[name] == pytest.approx(value, rel=1e-12, abs=1e-15), name
            metric = objective.metric(name)
            assert device.value(slot, objective, metric) == found[name]


@st.composite
def outputs_with_ties(draw: st.DrawFn) -> tuple[Any, Any]:
    n, runs = draw(st.integers(2, 40)), draw(st.integers(1, 4))
    few = st.sampled_from([*draw(st.lists(FLOATS, min_size=1, max_size=3)), 0.0, -0.0])
    elements = draw(st.sampled_from([FLOATS, few]))
    label = draw(st.permutations([0, 1, *draw(st.tuples(*[st.integers(0, 1)] * (n - 2)))]))
    return label, draw(hnp.arrays(np.float32, (runs, n), elements=elements))


@given(outputs_with_ties())
def test_the_auc_is_exact(case: tuple[Any, Any]) -> None:
    label, outputs = case
    _, device = both(Binary(), label, outputs)
    for slot, row in enumerate(outputs):
        assert device.metrics(slot, Binary())["auc"] == roc_auc(label, row)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("objective", [Binary("binary"), Softplus("own"), Regression("r"), Huber()])
def test_all_metrics_of_many_runs(
    objective: Objective, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    runs, n = 7, 3001
    label = (rng.random(n) < 0.3).astype(np.float32)
    if isinstance(objective, Regression):
        label += rng.normal(size=n).astype(np.float32)
    outputs = np.round(rng.normal(size=(runs, n)) * 3 + label, 1)
    outputs[1, 5], outputs[2, 7], outputs[3] = math.nan, -math.inf, -0.0
    outputs[4] *= 1e30
    for elements in (1 << 26, 2 * n, 1):  # all runs together, by two, one by one
        monkeypatch.setattr(torch_form, "_JUDGED_ELEMENTS", elements)
        host, device = both(objective, label, outputs, dtype)
        assert_equal(objective, host, device, runs)
        assert device.metrics(1, objective) == dict.fromkeys(objective.metrics)
        if elements == 1 << 26 and not isinstance(objective, Huber):
            assert "_on_host" not in vars(device)


def test_metrics_that_have_no_form_are_computed_on_the_host() -> None:
    label = np.array([0, 1, 1, 0])
    outputs = np.array([[0.1, 0.4, -3, 0.2], [1, 2, 3, 4]])
    mine = Metric("mine", "max", within_one)

    class Doubled(Regression):
        """(metrics are of the scores, which are not the outputs)"""

        def score(self, output: Any) -> Any:
            return 2.0 * output.astype(np.float64)

    class Judged(Binary):
        def evaluate(self, label: Any, output: Any) -> dict[str, float | None]:
            return dict.fromkeys(self.metrics, 0.5)

    for objective in (
        Binary().with_metrics([mine]),
        FromScratch("scratch"),
        Doubled("doubled"),
        Judged("judged"),
    ):
        host, device = both(objective, label, outputs)
        for slot in range(2):
            assert device.metrics(slot, objective) == host.metrics(slot, objective)
    # Of one class only: the host says so.
    assert torch_form.MetricsOfRuns(Binary(), torch.zeros(4)).names == frozenset()
    # Another objective than the one that the outputs were judged for.
    _, device = both(Binary(), label, outputs)
    assert device.metrics(0, Regression("r")) == host_of(Regression("r"), label, outputs)


def host_of(objective: Objective, label: Any, outputs: Any) -> dict[str, float | None]:
    host, _ = both(objective, label, outputs)
    return host.metrics(0, objective)


def test_one_small_copy_reaches_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[tuple[int, ...]] = []
    to_host = torch.Tensor.cpu

    def cpu(self: torch.Tensor) -> torch.Tensor:
        copied.append(tuple(self.shape))
        return to_host(self)

    rng = np.random.default_rng(0)
    label, outputs = rng.random(100) < 0.5, rng.normal(size=(5, 100))
    split = HeldOut(samples_of(label), torch.device("cpu"), torch.float32, Binary())
    assert split.metrics.names == set(Binary().metrics)
    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    device = DeviceOutputs(split, torch.from_numpy(outputs).float())
    for slot in range(5):
        device.metrics(slot, Binary())
    assert copied == [(4, 5)]  # finite, AUC, loss (of two metrics), accuracy
