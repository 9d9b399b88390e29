"""Record what two published implementations of LARS do, for tests/test_lars.py.

They are needed only to regenerate the traces, so they are no dependencies. In an environment of
its own, on any machine::

    python -m venv /tmp/lars && . /tmp/lars/bin/activate
    pip install -c constraints.txt torch==2.13.0 pytorch_optimizer==4.1.0
    pip install --no-deps timm==1.0.31
    python tests/golden/regenerate_lars.py

writes lars_traces.npz beside this file (no pickles inside; the same bytes every time):

- ``cases``: JSON, a list of ``{"of": ..., "eps": ..., "weight_decay": ..., ...}``;
- ``lr``, ``momentum``: of each update; a case whose momentum does not move has 0.9 throughout;
- ``start NAME``, ``gradients NAME``: a parameter tensor before the first update, and its gradients;
- ``trace K NAME``: the tensor after each update of case K.

timm's ``Lars`` is recorded with ``always_adapt=True``: without it, a weight decay of 0 switches the
trust ratio off. pytorch_optimizer's ``LARS`` has no ε, and trains vectors by plain SGD: only its
traces of the matrix are compared, against an ε of 0.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSIONS = {"timm": "1.0.31", "pytorch_optimizer": "4.1.0"}
OUTPUT = Path(__file__).with_name("lars_traces.npz")

UPDATES = 100
MOMENTUM = 0.9
SHAPES = {"matrix": (4, 3), "vector": (3,), "zeros": (2,)}
CASES: list[dict[str, Any]] = [
    {"of": "timm", "eps": 1e-8, "weight_decay": 0.0, "nesterov": False, "momentum_moves": False},
    {"of": "timm", "eps": 1e-2, "weight_decay": 0.1, "nesterov": False, "momentum_moves": True},
    {"of": "timm", "eps": 1e-8, "weight_decay": 0.1, "nesterov": True, "momentum_moves": True},
    {"of": "timm", "eps": 1e-8, "weight_decay": 0.1, "nesterov": False, "momentum": 0.0},
    {"of": "pytorch_optimizer", "eps": 0.0, "weight_decay": 0.0, "momentum_moves": True},
    {"of": "pytorch_optimizer", "eps": 0.0, "weight_decay": 0.5, "nesterov": True},
]
TRUST = 0.02

Values = NDArray[np.float64]
Tensors = dict[str, Values]


def timm_lars() -> Any:
    """The class, without the rest of timm, which needs torchvision."""
    spec = importlib.util.find_spec("timm")
    assert spec is not None and spec.submodule_search_locations is not None
    package = ModuleType("timm_optim")
    package.__path__ = [str(Path(spec.submodule_search_locations[0], "optim"))]
    sys.modules[package.__name__] = package
    return importlib.import_module("timm_optim.lars").Lars


def published(case: dict[str, Any], values: list[Any]) -> Any:
    options = {
        "weight_decay": case["weight_decay"],
        "nesterov": case.get("nesterov", False),
        "momentum": case.get("momentum", MOMENTUM),
        "foreach": False,
    }
    if case["of"] == "timm":
        return timm_lars()(values, trust_coeff=TRUST, eps=case["eps"], always_adapt=True, **options)
    lars = importlib.import_module("pytorch_optimizer").LARS
    return lars(values, trust_coefficient=TRUST, **options)


def trace_of(case: dict[str, Any], start: Tensors, gradients: Tensors, rates: Any) -> Tensors:
    torch = importlib.import_module("torch")
    names = list(start) if case["of"] == "timm" else ["matrix"]
    values = {name: torch.tensor(start[name]) for name in names}
    optimizer = published(case, list(values.values()))
    [group] = optimizer.param_groups
    trace = []
    for t, (lr, momentum) in enumerate(rates):
        for name, value in values.items():
            value.grad = torch.tensor(gradients[name][t])
        group.update(lr=float(lr), momentum=float(momentum))
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
    start["zeros"] *= 0
    # From update to update the gradients grow and shrink by orders of magnitude.
    sizes = 10.0 ** rng.uniform(-4, 1, size=UPDATES)
    gradients = {
        name: np.stack([size * rng.normal(size=shape) for size in sizes])
        for name, shape in SHAPES.items()
    }
    gradients["zeros"][:3] = 0.0  # both norms are 0, then that of the parameters alone
    gradients["zeros"][50] = 0.0  # that of the gradient alone
    number = np.arange(UPDATES)
    lr = 0.5 * (1 - np.cos(number / 5))  # (the first is 0)
    moving = 0.9 - 0.1 * np.sin(number / 4)
    recorded: dict[str, Any] = {
        **{f"start {name}": value for name, value in start.items()},
        **{f"gradients {name}": value for name, value in gradients.items()},
    }
    for k, case in enumerate(CASES):
        momentum = np.full(UPDATES, case.get("momentum", MOMENTUM))
        rates = list(zip(lr, moving if case.get("momentum_moves") else momentum, strict=True))
        trace = trace_of(case, start, gradients, rates)
        recorded |= {f"trace {k} {name}": values for name, values in trace.items()}
    cases = np.array(json.dumps([{"trust": TRUST, **case} for case in CASES]))
    np.savez_compressed(OUTPUT, cases=cases, lr=lr, momentum=moving, **recorded)
    print(f"{OUTPUT.name}: {len(CASES)} cases, {UPDATES} updates each")


if __name__ == "__main__":
    main()
