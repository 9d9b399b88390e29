"""What is wrong with a user's own model is said before anything is trained or written."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict
from torch import Tensor, nn

from bsscale.cli.entry import carry_out
from bsscale.cli.jobs import Job
from bsscale.cli.tasks import TASKS
from bsscale.config import ExecutorOptions
from bsscale.data import Schema
from bsscale.engines import probe
from bsscale.errors import NotStackableError
from bsscale.models import build_model
from bsscale.optimizers import AdagradConfig, AdamWConfig, OptimizerConfig, SGDConfig
from bsscale.records.run_record import read_run
from tests.composing import hydra
from tests.conftest import SMALL
from tests.engines.ranks import ddp
from tests.engines.runs import (
    all_at_once,
    by_torch,
    compiles,
    eager,
    equal,
    relative_distance,
    stacked,
)
from tests.helpers import MODELS, prepare, small_config

__all__ = ["hydra"]


class Net(nn.Module):
    """A model that is right: what the wrong ones are made from."""

    rows_missing = 0
    sparse = False

    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(
            nn.Embedding(rows - self.rows_missing, 2, sparse=self.sparse) for rows in cardinalities
        )
        self.top = nn.Linear(2 * len(cardinalities) + numeric_fields, 1)

    def columns(self, categorical: Tensor, numeric: Tensor) -> Tensor:
        vectors = [table(categorical[:, field]) for field, table in enumerate(self.tables)]
        column: Tensor = self.top(torch.cat([*vectors, numeric], dim=1))
        return column

    def forward(self, categorical: Tensor, numeric: Tensor) -> Any:
        return self.columns(categorical, numeric).squeeze(1)


class Column(Net):
    """The same outputs, as (n, 1)."""

    def forward(self, categorical: Tensor, numeric: Tensor) -> Any:
        return self.columns(categorical, numeric)


class TwoColumns(Net):
    def forward(self, categorical: Tensor, numeric: Tensor) -> Any:
        return self.columns(categorical, numeric).repeat(1, 2)


class Row(Net):
    def forward(self, categorical: Tensor, numeric: Tensor) -> Any:
        return self.columns(categorical, numeric).T


class Mean(Net):
    def forward(self, categorical: Tensor, numeric: Tensor) -> Any:
        return self.columns(categorical, numeric).mean()


class TwoHeads(Net):
    def forward(self, categorical: Tensor, numeric: Tensor) -> Any:
        logits = super().forward(categorical, numeric)
        return logits, logits


class HeadWhileTraining(Net):
    def forward(self, categorical: Tensor, numeric: Tensor) -> Any:
        logits = super().forward(categorical, numeric)
        return [logits, logits, logits] if self.training else logits


class Named(Net):
    def forward(self, categorical: Tensor, numeric: Tensor) -> Any:
        return {"logits": super().forward(categorical, numeric)}


class Nothing(Net):
    def forward(self, categorical: Tensor, numeric: Tensor) -> Any:
        super().forward(categorical, numeric)


class Classes(Net):
    def forward(self, categorical: Tensor, numeric: Tensor) -> Any:
        return (super().forward(categorical, numeric) > 0).long()


class Complex(Net):
    def forward(self, categorical: Tensor, numeric: Tensor) -> Any:
        return super().forward(categorical, numeric).to(torch.complex64)


class TooSmall(Net):
    rows_missing = 1


class Raises(Net):
    def forward(self, categorical: Tensor, numeric: Tensor) -> Any:
        raise ValueError("no idea\nwhat to do")


class OfAnotherWidth(Net):
    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__(cardinalities, numeric_fields + 1)


class Frozen(Net):
    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__(cardinalities, numeric_fields)
        self.requires_grad_(False)


class Empty(nn.Module):
    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__()

    def forward(self, categorical: Tensor, numeric: Tensor) -> Any:
        return numeric.sum(dim=1)


class Detached(Net):
    def forward(self, categorical: Tensor, numeric: Tensor) -> Any:
        return super().forward(categorical, numeric).detach()


class Sparse(Net):
    sparse = True


class Probability(Net):
    def forward(self, categorical: Tensor, numeric: Tensor) -> Any:
        return torch.sigmoid(super().forward(categorical, numeric))


class Positive(Net):
    """Logits that all lie between 0 and 1 before the training."""

    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__(cardinalities, numeric_fields)
        nn.init.zeros_(self.top.weight)
        nn.init.constant_(self.top.bias, 0.4)


class Unused(Net):
    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__(cardinalities, numeric_fields)
        self.spare = nn.Linear(2, 2)


class Drawing(Net):
    """Random numbers of all kinds."""

    def __init__(self, cardinalities: Sequence[int], numeric_fields: int) -> None:
        super().__init__(cardinalities, numeric_fields)
        np.random.random()

    def forward(self, categorical: Tensor, numeric: Tensor) -> Any:
        return super().forward(categorical, nn.functional.dropout(numeric))


def target(module: type[nn.Module]) -> str:
    return f"{__name__}.{module.__name__}"


def model_of(module: type[nn.Module]) -> dict[str, Any]:
    return {"_target_": target(module), "name": "custom"}


@pytest.fixture(autouse=True)
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_tried", set())


def composed(directory: Path, *overrides: str) -> DictConfig:
    """A job as Hydra hands it over."""
    other_task = any(override.startswith("task=") for override in overrides)
    replaced = ("model=", "budget") if other_task else "model="  # (it sets the budget itself)
    given = [word for word in SMALL if not word.startswith(replaced)]
    cfg = compose("config", [*given, "model=custom", *overrides], return_hydra_config=True)
    with open_dict(cfg):
        cfg.hydra.runtime.output_dir = str(directory)
        cfg.hydra.mode = "RUN"
    HydraConfig.instance().set_config(cfg)
    return cfg


WRONG: list[tuple[type[nn.Module], tuple[str, ...], str]] = [
    (TwoColumns, (), r"gives an output of shape \(8, 2\) for 8 samples(.|\n)*\(n,\) or \(n, 1\)"),
    (Row, (), r"gives an output of shape \(1, 8\) for 8 samples"),
    (Mean, (), r"gives an output of shape \(\) for 8 samples"),
    (TwoHeads, (), r"gives a tuple of 2 for 8 samples(.|\n)*one real number for each sample"),
    (HeadWhileTraining, (), r"gives a list of 3 for 8 samples"),
    (HeadWhileTraining, ("micro_batch=1",), r"gives a list of 3 for 1 sample\n"),
    (Named, (), r"gives a dict for 8 samples"),
    (Nothing, (), r"gives None for 8 samples"),
    (Classes, (), r"gives numbers of type torch\.int64"),
    (Complex, (), r"gives numbers of type torch\.complex64"),
    (TooSmall, (), r"the highest ids(.|\n)*IndexError: index out of range(.|\n)*cardinality - 1"),
    (Raises, (), r"failed on (.|\n)*ValueError: no idea what to do\n"),
    (OfAnotherWidth, (), r"RuntimeError: mat1 and mat2(.|\n)*correct its forward"),
    (Frozen, (), r"has no parameter that trains(.|\n)*requires_grad=True"),
    (Empty, (), r"has no parameter that trains"),
    (Detached, (), r"gives no parameter a gradient(.|\n)*detach"),
    (Sparse, ("optimizer=adam",), r"sparse gradients \(tables\.0\.weight(.|\n)*optimizer=adam"),
    (Sparse, ("optimizer=adamw",), r"optimizer=adamw as configured cannot use"),
    (Sparse, ("optimizer=lamb",), r"optimizer=lamb as configured cannot use"),
    # (its velocity would be sparse, and no checkpoint can hold it)
    (Sparse, ("optimizer=sgd",), r"optimizer=sgd as configured(.|\n)*optimizer\.momentum=0"),
    (
        Sparse,
        ("optimizer=sgd", "optimizer.momentum=0", "optimizer.weight_decay=0.1"),
        r"optimizer=sgd as configured cannot use(.|\n)*without weight decay",
    ),
    (
        Sparse,
        ("optimizer=adagrad", "clip_grad_norm=1"),
        r"clip_grad_norm=1 needs dense ones(.|\n)*clip_grad_norm=null",
    ),
]


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize(
    ("module", "options", "said"),
    [
        *WRONG,
        (TwoHeads, ("dry_run=true",), r"gives a tuple of 2 for 8 samples"),
        (TwoHeads, ("executor=ddp", "gpus=4"), r"gives a tuple of 2 for 8 samples"),
        (TwoHeads, ("precision=bf16",), r"gives a tuple of 2 for 8 samples"),
        (Sparse, ("optimizer=adam", "executor=ddp", "gpus=2"), "optimizer=adam as configured"),
    ],
)
def test_a_wrong_model_is_refused_before_anything_is_written(
    module: type[nn.Module],
    options: tuple[str, ...],
    said: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = tmp_path / "run"
    job = composed(run, f"model._target_={target(module)}", *options)
    with pytest.raises(SystemExit) as ended:
        carry_out(job)
    assert ended.value.code == 1
    [error] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert error.exc_info is None and error.getMessage().startswith("error: model tests.")
    text = error.getMessage()
    assert target(module) in text and "\n  -> " in text
    assert re.search(said, text), text
    assert not run.exists()


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize(
    "task",
    [
        ("task=range_test",),
        ("task=study", "task.directory=study", "gpus=4"),
    ],
)
def test_so_it_is_whatever_the_task(
    task: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    job = composed(tmp_path / "run", f"model._target_={target(TwoHeads)}", *task)
    with pytest.raises(SystemExit):
        carry_out(job)
    assert "gives a tuple of 2 for 8 samples" in caplog.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize(
    "optimizer",
    [("optimizer=sgd", "optimizer.momentum=0"), ("optimizer=adagrad",)],
)
@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
def test_a_sparse_model_trains_with_an_optimizer_that_can(
    optimizer: tuple[str, ...], tmp_path: Path
) -> None:
    words = (f"model._target_={target(Sparse)}", *optimizer, "checkpoint_interval_samples=4096")
    carry_out(composed(tmp_path / "run", *words, "gpus=1"))
    assert read_run(tmp_path / "run").status == "exhausted"


@pytest.mark.usefixtures("hydra")
def test_probabilities_are_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for module in (Probability, Positive, Net):
        job = composed(tmp_path / "run", f"model._target_={target(module)}", "dry_run=true")
        carry_out(job)
    [warning] = [each for each in caplog.messages if each.startswith("warning:")]
    assert "Probability gives outputs between 0." in warning and "on 512 samples" in warning
    assert "return logits (leave out the sigmoid)" in warning


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seed", range(5))
def test_no_shipped_model_is_taken_for_one_that_gives_probabilities(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    schema = Schema(("site", "device"), (50, 7), ("age", "price"))
    ids = torch.stack([torch.randint(0, n, (512,)) for n in schema.cardinalities], dim=1).int()
    module = build_model(MODELS[name], schema).eval()
    assert probe.look_like_probabilities(module, ids, torch.randn(512, 2)) is None


@pytest.mark.usefixtures("hydra")
def test_the_jobs_of_a_sweep_try_their_model_once_and_draw_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    monkeypatch.setattr(probe, "build_model", lambda *given: built.append(1) or build_model(*given))
    np.random.seed(3)
    states = torch.get_rng_state(), np.random.get_state()[1]
    for seed in (0, 1):
        for rate in (0.1, 0.2):
            words = (f"model._target_={target(Drawing)}", f"seed={seed}", f"base_lr={rate}")
            cfg = composed(tmp_path / "run", *words)
            TASKS["train"].check(Job(cfg, cfg.hydra))
    assert len(built) == 1
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])


def column_and_net(**changes: Any) -> list[Any]:
    return [
        small_config(model=model_of(module), budget_samples=2048, **changes)
        for module in (Column, Net)
    ]


def test_a_column_is_one_number_a_sample_run_by_run() -> None:
    trained = []
    for config in column_and_net():
        plan, dataset = prepare(config)
        engine = eager(plan, dataset)
        engine.advance(20)
        scores = torch.from_numpy(engine.score(dataset.validation))
        trained.append({**by_torch(plan, dataset, 20), "scores": scores})
    assert trained[0]["scores"].shape == (1, 3001) and equal(*trained)


@compiles
@pytest.mark.slow
def test_a_column_is_one_number_a_sample_compiled() -> None:
    trained = []
    for config in column_and_net(executor=ExecutorOptions("virtual", "cpu", compile=True)):
        plan, dataset = prepare(config)
        engine = stacked([plan, plan], dataset, "compiled", 2)
        engine.advance(20)
        scores = torch.from_numpy(engine.score(dataset.validation))
        values = dict(engine.model(1).named_parameters())
        trained.append({**values, "scores": scores})
    assert trained[0]["scores"].shape == (2, 3001) and equal(*trained)


def test_a_column_is_one_number_a_sample_over_ranks(tmp_path: Path) -> None:
    trained = []
    for number, config in enumerate(column_and_net(gpus=2)):
        (tmp_path / str(number)).mkdir()
        trained.append(ddp(config, 20, tmp_path / str(number))[0])
    assert equal(*trained)


def test_what_the_forward_pass_does_not_use_stays_the_same_in_every_step(tmp_path: Path) -> None:
    config = small_config(
        model=model_of(Unused), gpus=2, optimizer=AdamWConfig(weight_decay=0.1), precision="fp64",
        base_lr=0.01,
    )  # fmt: skip
    plan, dataset = prepare(config)
    start, trained = by_torch(plan, dataset, 0), by_torch(plan, dataset, 50)
    assert torch.equal(start["spare.weight"], trained["spare.weight"])
    [first, _] = ddp(config, 50, tmp_path)
    assert relative_distance({name: first[name] for name in trained}, trained) < 1e-10
    with pytest.raises(NotStackableError, match=r"spare\.weight has no gradient"):
        all_at_once([plan], dataset, "compiled", 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
@pytest.mark.parametrize("optimizer", [SGDConfig(momentum=0.0), AdagradConfig()])
def test_sparse_gradients_are_the_same_in_every_step(
    optimizer: OptimizerConfig, tmp_path: Path
) -> None:
    config = small_config(
        model=model_of(Sparse), gpus=2, optimizer=optimizer, precision="fp64", base_lr=0.01
    )
    plan, dataset = prepare(config)
    trained = by_torch(plan, dataset, 50)
    [first, _] = ddp(config, 50, tmp_path)
    assert relative_distance({name: first[name] for name in trained}, trained) < 1e-10
    with pytest.raises(NotStackableError, match="its gradients are sparse"):
        all_at_once([plan], dataset, "compiled", 1)


@pytest.mark.slow
def test_of_the_processes_of_torchrun_the_first_one_says_it(tmp_path: Path) -> None:
    words = [word for word in SMALL if not word.startswith("model=")]
    words += ["model=custom", f"model._target_={target(TwoHeads)}", "hydra.run.dir=run"]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
         "-m", "bsscale", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 1
    said = "gives a tuple of 2 for 8 samples"
    assert done.stdout.count(said) == 1
    assert done.stderr.count(said) == 1 and said in done.stderr.split("Root Cause")[1]
    assert not list((tmp_path / "run").glob("*.json*"))
