"""optimizer=custom: any torch.optim.Optimizer trains by its own step, or is refused before."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bsscale.cli.jobs import Job
from bsscale.cli.tasks.task import check_model
from bsscale.config import ExecutorOptions
from bsscale.engines.eager import EagerEngine
from bsscale.engines.stacked import StackedEngine
from bsscale.errors import ConfigError
from bsscale.optimizers import AdagradConfig, AdamConfig, CustomConfig, OptimizerConfig, SGDConfig
from bsscale.optimizers.optimizer import SPARSE_ROWS
from bsscale.planning import baselines
from bsscale.planning.devices import Devices
from bsscale.planning.stacks import make_stacks
from bsscale.records.run_record import read_run
from bsscale.schedules.options import CosineConfig, OneCycleConfig
from bsscale.study.plan import check_study
from bsscale.training.loop import train
from tests.composing import composed, hydra, typed
from tests.conftest import SMALL, Finished
from tests.engines.ranks import DDP, ddp
from tests.engines.runs import SHORT, advance, parameters, relative_distance
from tests.helpers import MODELS, changed, prepare, small_config
from tests.test_resume import Interrupted, make, numbers, terminated

__all__ = ["hydra", "terminated"]

OWN = "tests.own_parts"
SIGN = CustomConfig(_target_=f"{OWN}.SignMomentum")


def torchs(name: str, **options: Any) -> CustomConfig:
    return CustomConfig(_target_=f"torch.optim.{name}", options=options)


# --- The command line ---

LION = """
import torch
from torch import optim


class Lion(optim.Optimizer):
    def __init__(self, params, lr, betas=(0.9, 0.99)):
        super().__init__(params, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                mean = self.state[p].setdefault("mean", torch.zeros_like(p))
                direction = mean.lerp(p.grad, 1 - group["betas"][0]).sign()
                p.add_(direction, alpha=-group["lr"])
                mean.lerp_(p.grad, 1 - group["betas"][1])
"""


def test_an_optimizer_of_ones_own_trains_from_the_command_line(
    bsscale: Callable[..., Finished], tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(LION)
    words = (
        *SMALL, "optimizer=custom", "optimizer._target_=own.Lion", "optimizer.betas=[0.8,0.9]",
        "base_lr=0.01", "schedule=onecycle", "gpus=2", "hydra.run.dir=run",
    )  # fmt: skip
    done = bsscale(*words)
    assert done.code == 0, done.text
    assert "eager (optimizer=own.Lion has its own step() alone, run by run)" in done.out
    record = read_run(tmp_path / "run")
    assert record.optimizer == "own.Lion" and record.best_value is not None
    assert record.best_value > 0.6
    assert record.config["optimizer"]["options"] == {"betas": [0.8, 0.9]}
    lines = (tmp_path / "run" / "evals.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["momentum"] is not None  # (the cycle has moved betas[0])


@pytest.mark.usefixtures("hydra")
def test_its_options_come_with_and_without_a_plus_and_from_yaml() -> None:
    chosen = ("optimizer=custom", "optimizer._target_=torch.optim.RMSprop")
    plain = typed(*chosen, "optimizer.alpha=0.9", "optimizer.options={eps:1e-7}").optimizer
    assert plain == typed(*chosen, "+optimizer.alpha=0.9", "+optimizer.eps=1e-7").optimizer
    assert plain == replace(torchs("RMSprop", eps=1e-7, alpha=0.9), name="torch.optim.RMSprop")
    with pytest.raises(ConfigError, match=r"optimizer\.alpha=0\.9 and optimizer\.options\.alpha"):
        typed(*chosen, "optimizer.alpha=0.9", "optimizer.options={alpha:1}")


@pytest.mark.usefixtures("hydra")
def test_other_options_are_another_training_and_another_baseline() -> None:
    plans = [
        prepare(small_config(optimizer=optimizer))[0]
        for optimizer in (torchs("RMSprop"), torchs("RMSprop", alpha=0.9), torchs("Adamax"))
    ]
    assert plans[1].training["optimizer"]["options"] == {"alpha": 0.9}
    assert len({str(plan.training) for plan in plans}) == 3
    assert len({str(baselines.settings_of(plan.config)) for plan in plans}) == 3
    assert len(make_stacks(plans)) == 3


# --- How it is trained ---


def test_it_is_torchs_own_update_and_never_another_rule() -> None:
    plan, dataset = prepare(small_config(optimizer=torchs("Adam", betas=[0.8, 0.9]), base_lr=0.01))
    assert (plan.training_step, [s.width for s in make_stacks([plan] * 3)]) == ("eager", [1])
    of_its_own = EagerEngine(plan, dataset)
    of_its_own.begin(0, plan)
    shipped = changed(plan, optimizer=AdamConfig(beta1=0.8, beta2=0.9))
    the_same = EagerEngine(shipped, dataset)
    the_same.begin(0, shipped)
    for engine in (of_its_own, the_same):
        advance(engine, 20)
    for name, value in parameters(of_its_own).items():
        assert torch.equal(value, parameters(the_same)[name])


def test_compiling_it_is_refused() -> None:
    executor = ExecutorOptions("virtual", "cpu", compile=True)
    with pytest.raises(ConfigError, match=r"executor\.compile=true(.|\n)*executor\.compile=auto"):
        prepare(small_config(optimizer=SIGN, executor=executor))


def test_ranks_train_it_as_one_process_does(tmp_path: Path) -> None:
    config = small_config(
        optimizer=torchs("NAdam"), dataset=SHORT, gpus=2, micro_batch=16, precision="fp64",
        base_lr=0.01,
    )  # fmt: skip
    [first, second] = ddp(replace(config, executor=DDP), 20, tmp_path)
    plan, dataset = prepare(config)
    engine = EagerEngine(plan, dataset)
    engine.begin(0, plan)
    advance(engine, 20)
    one = parameters(engine)
    assert relative_distance({name: first[name] for name in one}, one) < 1e-10
    assert all(torch.equal(first[name], second[name]) for name in one)


@pytest.mark.parametrize(
    "optimizer",
    [
        torchs("RMSprop", centered=True, momentum=0.5),
        torchs("NAdam"),
        torchs("Adafactor"),
        CustomConfig(_target_=f"{OWN}.SignMomentum"),
        *(
            pytest.param(torchs(name), marks=pytest.mark.slow)
            for name in ("Adamax", "RAdam", "Adadelta", "ASGD", "Rprop")
        ),
    ],
    ids=lambda optimizer: optimizer._target_.rpartition(".")[2],
)
def test_it_goes_on_from_a_checkpoint_to_the_bit(optimizer: CustomConfig) -> None:
    config = small_config(
        model=MODELS["mlp"],
        optimizer=optimizer,
        schedule=CosineConfig() if optimizer.follows_lr else small_config().schedule,
        base_lr=0.01,
        budget_samples=20_480,
    )
    plan, dataset = prepare(config)
    undisturbed, first, second = Interrupted(plan), Interrupted(plan, after=81), Interrupted(plan)
    train([[undisturbed]], make("eager", plan, dataset), dataset.validation, dataset.test)
    with pytest.raises(SystemExit):
        train([[first]], make("eager", plan, dataset), dataset.validation, dataset.test)
    [second.checkpoint] = first.saved
    train([[second]], make("eager", plan, dataset), dataset.validation, dataset.test)
    assert numbers(first) + numbers(second) == numbers(undisturbed)
    for name, value in undisturbed.weights.items():
        assert torch.equal(value, second.weights[name])


# --- What is refused, before anything is trained ---


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize(
    ("words", "facts"),
    [
        ([], ["optimizer._target_ is not given", "optimizer._target_=torch.optim.RMSprop"]),
        (["optimizer._target_=nowhere.Own"], ["cannot import optimizer._target_=nowhere.Own"]),
        (["optimizer._target_=torch.optim.Own"], ["no attribute 'Own'", "check the path"]),
        (["optimizer._target_=math.pi"], ["is a float, which cannot be called"]),
        (["optimizer._target_=torch.nn.Linear"], ["is a class, but not a torch.optim.Optimizer"]),
        ([f"optimizer._target_={OWN}.not_an_optimizer"], ["gave a list", "a function that ret"]),
        (
            ["optimizer._target_=torch.optim.RMSprop", "optimizer.alfa=0.9"],
            ["RMSprop called with (alfa=0.9", "TypeError", "it takes params, lr, alpha"],
        ),
        (
            ["optimizer._target_=torch.optim.RMSprop", "optimizer.alpha=-1"],
            ["(alpha=-1", "ValueError: Invalid alpha value: -1"],
        ),
        (
            ["optimizer._target_=torch.optim.Rprop", "optimizer.weight_decay=0.1"],
            ["weight_decay=0.1", "unexpected keyword argument 'weight_decay'"],
        ),
        (
            ["optimizer._target_=torch.optim.RMSprop", "optimizer.lr=0.1"],
            ["optimizer.lr=0.1", "give base_lr=RATE"],
        ),
        (
            ["optimizer._target_=torch.optim.RMSprop", "optimizer.sparse=true"],
            ["optimizer.sparse=true", "leave it out"],
        ),
        (
            ["optimizer._target_=torch.optim.RMSprop", "optimizer.search_range=[1,0.1]"],
            ["optimizer.search_range=[1.0, 0.1]", "optimizer.search_range=[1e-4,1e-1]"],
        ),
        (["optimizer._target_=torch.optim.LBFGS"], ["needs a closure", "without arguments"]),
        (["optimizer._target_=torch.optim.SparseAdam"], ["dense gradients", "cannot take an up"]),
        ([f"optimizer._target_={OWN}.Forgetful"], ["cannot be resumed", "optimizer.state[param"]),
        ([f"optimizer._target_={OWN}.Remembering"], ["cannot be resumed", "int, float or bool"]),
        ([f"optimizer._target_={OWN}.Deaf"], ["does not use the learning rate", 'group["lr"]']),
        (
            ["optimizer._target_=torch.optim.RMSprop", "schedule=onecycle",
             "schedule.cycle_momentum=true"],
            ["cycles the momentum", "as configured has no momentum", "cycle_momentum=false"],
        ),
        (
            ["optimizer._target_=torch.optim.Rprop", "schedule=cosine"],
            ["changes the learning rate", "at its first update only", "schedule=fixed"],
        ),
    ],
)  # fmt: skip
def test_what_cannot_train_is_refused(words: list[str], facts: list[str]) -> None:
    with pytest.raises(ConfigError) as refusal:
        _ = Job(composed(*SMALL, "optimizer=custom", *words), hydra=None).plan
    assert refusal.value.remedy
    for fact in facts:
        assert fact in str(refusal.value)


def test_a_model_that_it_does_not_fit_is_refused_before_the_first_update() -> None:
    plan, dataset = prepare(small_config(optimizer=torchs("Muon"), model=MODELS["mlp"]))
    with pytest.raises(ConfigError, match=r"Muon(.|\n)*2D parameters"):
        EagerEngine(plan, dataset).begin(0, plan)


@pytest.mark.parametrize(
    ("optimizer", "momentum"),
    [
        (torchs("NAdam"), 0.9),
        (torchs("RMSprop", momentum=0.7), 0.7),
        (torchs("RMSprop"), None),
        (SIGN, 0.9),
        (CustomConfig(_target_=f"{OWN}.nesterov", options={"momentum": 0.8}), 0.8),
    ],
)
def test_the_momentum_that_a_schedule_moves(
    optimizer: CustomConfig, momentum: float | None
) -> None:
    assert optimizer.momentum_now == momentum
    plan, _ = prepare(small_config(optimizer=optimizer, schedule=OneCycleConfig()))
    assert (plan.schedule.momentum(0) is None) == (momentum is None)


# --- Search ranges ---


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize(
    ("words", "refused"),
    [
        ([], True),
        (["base_lr=0.01"], True),  # (a tuned arm and two presets are left)
        (["task.lowest_lr=1e-3", "task.highest_lr=1e-1"], True),  # (the presets)
        (["optimizer.search_range=[1e-3,1e-1]"], False),
        (["base_lr=0.01", "~task.arms.onecycle", "~task.arms.onecycle_one_gpu",
          "~task.arms.tuned_constant", "~task.arms.tuned_onecycle"], False),
    ],
)  # fmt: skip
def test_a_study_never_searches_where_sgd_would(words: list[str], refused: bool) -> None:
    small = [word for word in SMALL if not word.startswith(("base_lr", "budget"))]
    own = ("optimizer=custom", "optimizer._target_=torch.optim.RMSprop")
    job = Job(composed(*small, "task=study", "gpus=2", *own, *words), hydra=None)
    if not refused:
        check_study(job.config, job.dataset, Devices(0))
        return
    with pytest.raises(ConfigError, match=r"learning rates of torch\.optim\.RMSprop"):
        check_study(job.config, job.dataset, Devices(0))


@pytest.mark.usefixtures("hydra")
def test_a_range_test_derives_its_rates_from_the_search_range() -> None:
    from bsscale.study.range_test import plan_range_test

    def plans(*words: str) -> Any:
        own = ("optimizer=custom", "optimizer._target_=torch.optim.RMSprop")
        job = Job(composed(*SMALL, "task=range_test", *own, *words), hydra=None)
        return plan_range_test(job.config, job.dataset, Devices(0))

    with pytest.raises(ConfigError, match=r"optimizer\.search_range=\[LOWEST,HIGHEST\]"):
        plans()
    first, *_ = plans("optimizer.search_range=[1e-3,0.1]").values()
    assert first.plan.schedule.lr(0) == pytest.approx(1e-4)
    assert first.plan.schedule.peak == pytest.approx(1.0)
    ends = ("task.ramp.lr_range_test_min_lr=1e-3", "task.ramp.lr_range_test_max_lr=1")
    assert next(iter(plans(*ends).values())).plan.schedule.lr(0) == pytest.approx(1e-3)


# --- Classes that derive from shipped ones ---


@dataclass
class MyAdam(AdamConfig):
    """torch's form is another one, and the stacked rule is Adam's."""

    def torch_optimizer(self, parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.NAdam(parameters, lr=0.0, betas=(self.beta1, self.beta2), eps=self.eps)


@dataclass
class Doubled(SGDConfig):
    """Both forms: twice the step."""

    def torch_optimizer(self, parameters: Any) -> torch.optim.Optimizer:
        made = super().torch_optimizer(parameters)

        def twice(*_: Any) -> None:
            for group in made.param_groups:
                group["lr"] *= 2

        made.register_step_pre_hook(twice)
        return made

    def update(self, value: Tensor, gradient: Tensor, state: Any, c: Any) -> None:
        super().update(value, gradient, state, [2 * c[0], *c[1:]])


@dataclass
class HalfWritten(SGDConfig):
    def update(self, value: Tensor, gradient: Tensor, state: Any, c: Any) -> None:
        value.zero_()


def test_a_derived_class_is_never_trained_as_the_one_that_it_derives_from() -> None:
    plan, dataset = prepare(small_config(optimizer=MyAdam(), base_lr=0.01))
    assert plan.training_step == "eager"
    plans = [plan, changed(plan, optimizer=AdamConfig())]
    assert [stack.members for stack in make_stacks(plans)] == [(0,), (1,)]
    with pytest.raises(ConfigError, match=r"HalfWritten(.|\n)*write HalfWritten\.torch_optimizer"):
        prepare(small_config(optimizer=HalfWritten()))

    # One with both forms is stacked, by its own rule, and not among those of SGD.
    plan, dataset = prepare(small_config(optimizer=Doubled(momentum=0.0), precision="fp64"))
    assert plan.training_step == "layers"
    others = [plan, changed(plan, optimizer=SGDConfig(momentum=0.0))]
    assert [stack.members for stack in make_stacks(others)] == [(0,), (1,)]
    trained = []
    for engine in (StackedEngine(plan, dataset), EagerEngine(plan, dataset)):
        engine.begin(0, plan)
        advance(engine, 10)
        trained.append(parameters(engine))
    assert relative_distance(*trained) < 1e-10


@dataclass
class Leaky(AdagradConfig):
    """Its state changes without a gradient."""

    def torch_optimizer(self, parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(parameters, lr=0.0)

    def update(self, value: Tensor, gradient: Tensor, state: Any, c: Any) -> None:
        state[0].mul_(0.99)
        super().update(value, gradient, state, c)


@pytest.mark.parametrize(
    ("optimizer", "touched_only"),
    [(Leaky(), False), (AdagradConfig(), True), (SGDConfig(momentum=0.0), True), (SIGN, False)],
)
def test_sparse_updates_are_for_rules_that_say_so_themselves(
    optimizer: OptimizerConfig, touched_only: bool
) -> None:
    assert optimizer.updates_touched_rows_only(SPARSE_ROWS) is touched_only


def test_an_optimizer_that_cannot_update_the_model_is_refused() -> None:
    """torch.optim.Muon takes matrices only, and the models have vectors."""
    muon = CustomConfig(_target_="torch.optim.Muon")
    plan, dataset = prepare(small_config(optimizer=muon, base_lr=0.001))
    with pytest.raises(ConfigError, match="Muon only supports 2D parameters"):
        check_model(plan, dataset)
    fine = CustomConfig(_target_="torch.optim.RMSprop")
    check_model(*prepare(small_config(optimizer=fine, base_lr=0.001)))
