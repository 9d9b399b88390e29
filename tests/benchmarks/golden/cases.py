"""The runs of the set: a command for each case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["CASES", "FILES", "Case"]


@dataclass(frozen=True)
class Case:
    """One command.

    Attributes
    ----------
    name
        As the table shows it.
    arguments
        Of `python -m bsscale`, as the working tree spells them.
    older
        Where commits before some change spell an argument otherwise: from this spelling to theirs.
        It is tried on a side that refuses the arguments as they stand.
    """

    name: str
    arguments: Sequence[str]
    older: Mapping[str, str] = field(default_factory=dict)

    @property
    def spellings(self) -> list[list[str]]:
        """The arguments as they stand, then as older commits spell them."""
        now = list(self.arguments)
        then = [self.older.get(each, each) for each in now]
        return [now] if then == now else [now, then]


# What lies in the directory in which each command is typed.
FILES = {
    "golden_net.py": """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, cardinalities, numeric_fields, width=16):
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(n, 4) for n in cardinalities)
        self.top = nn.Sequential(
            nn.Linear(4 * len(cardinalities) + numeric_fields, width),
            nn.ReLU(),
            nn.Linear(width, 1),
        )

    def forward(self, categorical, numeric):
        vectors = [table(categorical[:, i]) for i, table in enumerate(self.embeddings)]
        return self.top(torch.cat([*vectors, numeric], dim=1)).squeeze(1)
""",
    "clicks.csv": "site,hour,price,clicked\n"
    + "".join(
        f"site{k * k % 37},{k % 24},{k * 7919 % 1000 / 100},{int(k * k % 37 + k % 24 > 35)}\n"
        for k in range(3000)
    ),
}

_COMMON = ("tracker=none", "executor.device=cpu")
_SYNTHETIC = (
    *_COMMON,
    "dataset=synthetic",
    "dataset.cardinality=200",
    "dataset.samples_per_pass=20000",
    "dataset.validation_samples=4000",
    "dataset.test_samples=2000",
    "micro_batch=32",
)
# 157 updates a pass.
_SMALL = (*_SYNTHETIC, "gpus=4", "base_lr=0.1", "budget_passes=1")
_CUSTOM = ("model=custom", "model._target_=golden_net.Net", "+model.width=8")

CASES = (
    # Single runs.
    Case("one_run", (*_SMALL,)),
    Case("flights", (*_COMMON, "schedule=onecycle", "gpus=8", "budget_passes=1")),
    Case(
        "table",
        (
            *_COMMON,
            "dataset=table",
            "dataset.path=clicks.csv",
            "dataset.label=clicked",
            "micro_batch=32",
            "model=mlp",
            "base_lr=0.1",
            "budget_passes=2",
        ),
    ),
    Case(
        "nesterov_clipped",
        (
            *_SMALL,
            "model=mlp",
            "optimizer.nesterov=true",
            "clip_grad_norm=0.2",
            "schedule=linear_warmup",
        ),
    ),
    Case(
        "sparse_adam",
        (
            *_SMALL,
            "dataset.cardinality=5000",
            "model=deepfm",
            "optimizer=adam",
            "optimizer.sparse=true",
            "base_lr=0.005",
            "schedule=scaled",
            "schedule.factor=2",
        ),
    ),
    Case(
        "accumulated_fp64",
        (
            *_SMALL,
            "grad_accum=2",
            "precision=fp64",
            "optimizer=adamw",
            "base_lr=0.005",
            "schedule=deepspeed",
            "schedule.config={type: WarmupLR, params: {warmup_min_lr: 0.001, warmup_max_lr: 0.01, "
            "warmup_num_steps: 50}}",
        ),
    ),
    Case("bf16", (*_SMALL, "precision=bf16", "optimizer=adagrad", "schedule=onecycle_torch")),
    Case("eager", (*_SMALL, *_CUSTOM, "executor.compile=false", "schedule=onecycle")),
    Case("ddp", (*_SMALL, "executor=ddp", "gpus=2", "schedule=onecycle")),
    # Stacks: jobs of one multirun are trained together.
    Case(
        "compiled",
        ("-m", *_SMALL, *_CUSTOM, "executor.compile=true", "schedule=onecycle", "seed=0,1"),
    ),
    Case(
        "models",
        (
            "-m",
            *_SMALL,
            "model=dlrm,mlp,deepfm,logistic",
            "optimizer=sgd,adam,adamw,adagrad",
            "base_lr=0.01",
            "schedule=onecycle",
        ),
    ),
    Case(
        "schedules",
        (
            "-m",
            *_SMALL,
            "schedule=cosine,fixed,linear_scaling,linear_warmup,onecycle,onecycle_torch,range_test,"
            "sequence,sqrt_scaling,wsd",
            "seed=0,1",
            "budget_passes=1.5",
        ),
    ),
    # Runs that end early, by their target or by divergence, and free their slots.
    Case(
        "stack",
        (
            "-m",
            *_SYNTHETIC,
            "schedule=fixed,linear_scaling",
            "gpus=1,4",
            "base_lr=0.05,30",
            "seed=0,1,2",
            "target=0.68",
            "eval_interval_samples=1024",
            "budget_passes=1",
        ),
    ),
    # Tasks.
    Case(
        "range_test",
        (
            *_SYNTHETIC,
            "task=range_test",
            "task.seeds=2",
            "task.evaluations=40",
            "gpus=4",
            "hydra.run.dir=range",
        ),
    ),
    Case(
        "study",
        (
            *_SYNTHETIC,
            "task=study",
            "task.directory=study",
            "gpus=4",
            "model=mlp",
            "task.seeds=2",
            "task.trials=4",
            "task.tuning_seeds=1",
            "task.target_seeds=2",
            "task.range_test_seeds=1",
            "task.budget_factor=2",
            "~task.arms.linear_scaling",
            "~task.arms.sqrt_scaling",
            "~task.arms.linear_warmup",
            "~task.arms.onecycle_one_gpu",
        ),
    ),
)
