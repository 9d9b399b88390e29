"""Record what two published implementations of LAMB do, for tests/test_lamb.py.

They are needed only to regenerate the traces, so they are no dependencies. In an environment of
its own, on any machine::

    python -m venv /tmp/lamb && . /tmp/lamb/bin/activate
    pip install -c constraints.txt torch==2.13.0 pytorch_optimizer==4.1.0 optax==0.2.8 jax==0.10.2
    python tests/golden/regenerate_lamb.py

writes lamb_traces.npz beside this file (no pickles inside; the same bytes every time):

- ``cases``: JSON, a list of ``{"of": ..., "eps": ..., "weight_decay": ..., "beta1_moves": ...}``;
- ``lr``, ``beta1``: of each update; a case whose beta1 does not move has 0.9 throughout;
- ``start NAME``, ``gradients NAME``: a parameter tensor before the first update, and its gradients;
- ``trace K NAME``: the tensor after each update of case K.

optax's ``lamb`` is the paper's algorithm as it is. pytorch_optimizer's ``Lamb`` is not: it bounds
the norm of the parameters by 10, adds ε to that of the update, and has no bias correction but one
of the learning rate. The traces are of what makes it the paper's:

- ``weight_decouple=False``: the decay is a part of the update whose norm is taken;
- ``pre_norm=False`` and ``grad_averaging=True``, its defaults: gradients are taken as they are;
- ``clamp`` of infinity, and an ε of nothing;
- ``adam_debias=True``: no correction of the learning rate. Where ‖θ‖/‖r‖ is the trust ratio, no
  factor of r matters, so that instead of m and v the decay can be corrected:
  m̂/√v̂ + λθ = (√(1−β₂^t) / (1−β₁^t)) · (m/√v + λ·(1−β₁^t)/√(1−β₂^t)·θ).

A tensor of zeros has a trust ratio of 1, where that does not hold: only optax's traces have one.
"""

from __future__ import annotations

import importlib
import json
import math
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSIONS = {"optax": "0.2.8", "pytorch_optimizer": "4.1.0"}
OUTPUT = Path(__file__).with_name("lamb_traces.npz")

UPDATES = 40
BETA1, BETA2 = 0.9, 0.999
# (the norm of the matrix is above 10)
SHAPES = {"matrix": (4, 3), "vector": (3,), "zeros": (2,)}
CASES: list[dict[str, Any]] = [
    {"of": "optax", "eps": 1e-6, "weight_decay": 0.01, "beta1_moves": False},
    {"of": "optax", "eps": 1e-2, "weight_decay": 0.0, "beta1_moves": True},
    {"of": "optax", "eps": 1e-6, "weight_decay": 0.5, "beta1_moves": True},
    {"of": "pytorch_optimizer", "eps": 1e-30, "weight_decay": 0.0, "beta1_moves": False},
    {"of": "pytorch_optimizer", "eps": 1e-30, "weight_decay": 0.5, "beta1_moves": True},
]

Values = NDArray[np.float64]
Tensors = dict[str, Values]


def optax_trace(
    case: dict[str, Any], start: Tensors, gradients: Tensors, lr: Values, beta1: Values
) -> Tensors:
    jax, optax = (importlib.import_module(name) for name in ("jax", "optax"))
    jax.config.update("jax_enable_x64", True)
    rule = optax.inject_hyperparams(optax.lamb)(
        learning_rate=0.0, b1=BETA1, b2=BETA2, eps=case["eps"], weight_decay=case["weight_decay"]
    )
    values = {name: jax.numpy.asarray(value) for name, value in start.items()}
    state, trace = rule.init(values), []
    for t in range(UPDATES):
        state.hyperparams.update(learning_rate=jax.numpy.asarray(lr[t]))
        state.hyperparams.update(b1=jax.numpy.asarray(beta1[t]))
        now = {name: jax.numpy.asarray(gradients[name][t]) for name in values}
        updates, state = rule.update(now, state, values)
        values = optax.apply_updates(values, updates)
        trace.append({name: np.asarray(value) for name, value in values.items()})
    return {name: np.stack([values[name] for values in trace]) for name in start}


def pytorch_optimizer_trace(
    case: dict[str, Any], start: Tensors, gradients: Tensors, lr: Values, beta1: Values
) -> Tensors:
    torch, published = (importlib.import_module(name) for name in ("torch", "pytorch_optimizer"))
    values = {name: torch.tensor(start[name]) for name in ("matrix", "vector")}
    optimizer = published.Lamb(
        values.values(), weight_decouple=False, adam_debias=True, eps=case["eps"]
    )
    optimizer.clamp = math.inf
    [group] = optimizer.param_groups
    trace = []
    for t in range(UPDATES):
        for name, value in values.items():
            value.grad = torch.tensor(gradients[name][t])
        corrections = 1 - beta1[t] ** (t + 1), math.sqrt(1 - BETA2 ** (t + 1))
        decay = case["weight_decay"] * corrections[0] / corrections[1]
        group.update(lr=float(lr[t]), betas=(float(beta1[t]), BETA2), weight_decay=float(decay))
        optimizer.step()
        trace.append({name: value.numpy().copy() for name, value in values.items()})
    return {name: np.stack([values[name] for values in trace]) for name in values}


def main() -> None:
    for name, version in VERSIONS.items():
        found = version_of(name)
        if found != version:
            raise SystemExit(f"{name} is {found}, but the traces are of {version}")
    rng = np.random.default_rng(0)
    start = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    start["matrix"] *= 10
    start["zeros"] *= 0
    # From update to update the gradients grow and shrink by orders of magnitude.
    sizes = 10.0 ** rng.uniform(-4, 1, size=UPDATES)
    gradients = {
        name: np.stack([size * rng.normal(size=shape) for size in sizes])
        for name, shape in SHAPES.items()
    }
    gradients["zeros"][:3] = 0.0  # both norms are 0, then that of the parameters alone
    number = np.arange(UPDATES)
    lr = 0.05 * (1 - np.cos(number / 5))  # (the first is 0)
    moving = 0.9 - 0.1 * np.sin(number / 4)
    traces = {"optax": optax_trace, "pytorch_optimizer": pytorch_optimizer_trace}
    recorded: Tensors = {}
    for k, case in enumerate(CASES):
        beta1 = moving if case["beta1_moves"] else np.full(UPDATES, BETA1)
        trace = traces[case["of"]](case, start, gradients, lr, beta1)
        recorded |= {f"trace {k} {name}": values for name, values in trace.items()}
    np.savez_compressed(
        OUTPUT,
        cases=np.array(json.dumps(CASES)),
        lr=lr,
        beta1=moving,
        **{f"start {name}": value for name, value in start.items()},
        **{f"gradients {name}": value for name, value in gradients.items()},
        **recorded,
    )
    print(f"{OUTPUT.name}: {len(CASES)} cases, {UPDATES} updates each")


if __name__ == "__main__":
    main()
