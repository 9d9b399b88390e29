"""From a configuration to a `Plan`: every derived number of a run, computed and checked once.

The numbers are derived in this order: replicas, size of an update, number of updates, evaluation
grid, learning rates, target. No later code derives a number again.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, cast

from bsscale.config import Config
from bsscale.config.objectives import build_objective
from bsscale.config.schedules import resolve
from bsscale.errors import ConfigError
from bsscale.files.replace import plain
from bsscale.objectives import Metric, Objective
from bsscale.optimizers.groups import ParameterGroup
from bsscale.planning import baselines
from bsscale.planning.checks import check_config, check_schedule
from bsscale.planning.devices import Devices
from bsscale.planning.executor import choose_executor
from bsscale.planning.memory import Counts, Memory, check_memory, describe_memory, predict
from bsscale.planning.noise_scale import Passes, measured_steps
from bsscale.planning.scaling import scaled_schedule_and_groups
from bsscale.planning.training_step import choose_training_step
from bsscale.records.identity import identifying
from bsscale.records.secrets import without_secrets
from bsscale.schedules import Schedule
from bsscale.schedules.options import ScheduleContext

__all__ = ["Plan", "make_plan"]

DEFAULT_BUDGET_PASSES = 8.0
# 128 micro-batches: divisible by every power of two up to 128, so that 1, 2, 4, … replicas evaluate
# at the same sample counts. With a micro_batch of 128, one pass over flights has 16 evaluations.
DEFAULT_EVAL_INTERVAL_MICRO_BATCHES = 128
# Evaluations of so many rows may be frequent. With more of them, an evaluated row is predicted to
# take half the time of a training sample (no backward pass and no update).
FEW_EVALUATED_ROWS = 50_000
EVALUATED_ROW_IN_SAMPLES = 0.5
MOST_EVAL_SHARE = 0.2


@dataclass(frozen=True)
class Plan:
    """A run's configuration, and every number that follows from it, its data and the machine.

    Attributes
    ----------
    config
        As the user wrote it, with `gpus`, `metric`, `base_lr` and `target` filled in.
    objective
        What is minimized, and the metrics.
    executor
        virtual, ddp, or script where a command of the user's trains.
    executor_reason
        Why, in a few words.
    device
        cpu, cuda, or script where it is not known.
    training_step, training_step_reason
        layers, compiled, eager or script, and why (see `training_step.choose_training_step`).
    processes
        Training processes.
    memory
        What each of them takes, as predicted; None where the model cannot be counted.
    global_batch
        Samples of one update: micro_batch x gpus x grad_accum.
    replicas_per_device
        Replicas that one process carries.
    samples_per_pass
        Training samples in one pass; None where only a script knows.
    data_key
        Identity of the data; None where it is not known.
    budget_samples, steps
        The most samples to train on, and the updates that takes.
    eval_interval_samples
        Samples between evaluations.
    base_lr_source
        Where base_lr comes from.
    schedule
        Learning rate and momentum of each update.
    groups
        The parameter groups: one, or dense and embeddings. Their options are those of the
        configuration after the scaling rule.
    target_source
        The origin of the target, or the reason why there is none.
    checkpoint_interval_samples
        Samples between checkpoints.
    """

    config: Config
    objective: Objective
    executor: str
    executor_reason: str
    device: str
    training_step: str
    training_step_reason: str
    processes: int
    memory: Memory | None
    global_batch: int
    replicas_per_device: int
    samples_per_pass: int | None
    data_key: str | None
    budget_samples: int
    steps: int
    eval_interval_samples: int
    base_lr_source: str
    schedule: Schedule
    groups: tuple[ParameterGroup, ...]
    target_source: str
    checkpoint_interval_samples: int

    @property
    def gpus(self) -> int:
        """Number of replicas."""
        assert self.config.gpus is not None  # (filled in)
        return self.config.gpus

    @property
    def base_lr(self) -> float:
        """Best fixed learning rate at one GPU."""
        assert self.config.base_lr is not None  # (filled in)
        return self.config.base_lr

    @property
    def scaling(self) -> str | None:
        """Name of the rule by which rates move with the batch: the run's, or its schedule's."""
        config = self.config
        return (
            config.schedule.scaling_rule if config.scaling.name == "none" else config.scaling.name
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the user before training."""
        found = list(self.schedule.notes())
        passes = self.config.budget_passes
        asked = (passes or 0) * (self.samples_per_pass or 0)
        if passes is not None and self.budget_samples > 1.1 * asked:
            found.append(
                f"budget_passes={passes:g} is {asked:,.0f} samples, and "
                f"the budget is {self.budget_samples:,}: it ends with a whole evaluation interval; "
                "budget_samples is taken as it stands"
            )
        if self.config.target is not None and self.next_evaluation(0) >= self.steps:
            found.append(
                "the budget ends with the first evaluation, and a target counts when the next one "
                "confirms it, so that it cannot be reached: evaluate more often "
                f"(eval_interval_samples={max(1, self.budget_samples // 10)}), or train for longer"
            )
        if self.memory is not None and not self.memory.fits:
            found.append(
                f"{describe_memory(self.memory, self.processes)}, so that it may not fit: give a "
                "smaller micro_batch"
            )
        return tuple(found)

    @property
    def metric(self) -> Metric:
        """The metric that judges the run."""
        return self.objective.metric(self.config.metric)

    @property
    def direction(self) -> str:
        """Whether higher values of the metric are better (max) or lower ones (min)."""
        return self.metric.direction

    @property
    def training(self) -> dict[str, Any]:
        """All that determines the training and when it ends, in plain containers.

        A checkpoint and the run that continues from it must agree on it. Neither the executor
        nor the number of replicas is part of it, as long as they make the same global batch.
        """
        config = self.config
        schedule = {"shape": type(self.schedule).__name__, **asdict(cast("Any", self.schedule))}
        trainer = {} if config.trainer.ours else {"trainer": identifying(asdict(config.trainer))}
        described: dict[str, Any] = plain(
            without_secrets(
                {
                    **trainer,
                    "dataset": config.dataset,
                    "data_key": self.data_key,
                    "samples_per_pass": self.samples_per_pass,
                    "model": config.model,
                    "objective": config.objective,
                    "metric": config.metric,
                    "optimizer": asdict(self.groups[0].optimizer),
                    **{group.name: asdict(group) for group in self.groups[1:]},
                    "schedule": schedule,
                    "clip_grad_norm": config.clip_grad_norm,
                    "precision": config.precision,
                    "global_batch": self.global_batch,
                    "budget_samples": self.budget_samples,
                    "eval_interval_samples": self.eval_interval_samples,
                    "target": config.target,
                    "stop_at_target": config.stop_at_target,
                    "seed": config.seed,
                }
            )
        )
        return described

    @cached_property
    def noise_scale_steps(self) -> tuple[int, ...]:
        """The updates before which the gradient noise scale is measured; none if it is not."""
        config = self.config
        if not config.noise_scale:
            return ()
        samples = config.micro_batch * self.replicas_per_device
        layers = self.training_step == "layers"
        passes = Passes(config.grad_accum, samples, self.processes, layers)
        return measured_steps(self.budget_samples, config.micro_batch, self.steps, passes)

    def next_noise_scale(self, step: int) -> int | None:
        """The first update from `step` on before which the noise scale is measured, if any."""
        place = bisect_left(self.noise_scale_steps, step)
        return self.noise_scale_steps[place] if place < len(self.noise_scale_steps) else None

    def momentum(self, step: int) -> float | None:
        """SGD's momentum or Adam's beta1 at an update: the schedule's, else the optimizer's own."""
        moved = self.schedule.momentum(step)
        return self.groups[0].optimizer.momentum_now if moved is None else moved

    def with_target(self, target: float | None, source: str) -> Plan:
        """The same run towards another target; None: towards none."""
        return replace(self, config=replace(self.config, target=target), target_source=source)

    def next_evaluation(self, step: int) -> int:
        """After how many updates a run that has made `step` of them is evaluated again.

        That is the first update that passes a point of the evaluation grid, or the last of all.
        """
        passed = step * self.global_batch // self.eval_interval_samples
        samples = (passed + 1) * self.eval_interval_samples
        return min(-(-samples // self.global_batch), self.steps)

    def next_checkpoint(self, step: int) -> int:
        """After how many updates a run that has made `step` of them is checkpointed again.

        That is the first update past a multiple of the interval; or, where evaluations are closer
        together, the first evaluation past it, so that runs in one stack stay in step.
        """
        passed = step * self.global_batch // self.checkpoint_interval_samples
        samples = (passed + 1) * self.checkpoint_interval_samples
        due = -(-samples // self.global_batch)
        if self.checkpoint_interval_samples < self.eval_interval_samples:
            return due
        return self.next_evaluation(due - 1)


def make_plan(
    config: Config,
    samples_per_pass: int | None,
    devices: Devices,
    data_key: str | None = None,
    counts: Counts | None = None,
    evaluated_rows: int = 0,
) -> Plan:
    """Derive and check every number of a run.

    Parameters
    ----------
    config
        The run as the user wrote it.
    samples_per_pass
        Training samples in one pass over the data set; None: not known.
    devices
        The accelerators of this machine.
    data_key
        Identity of the data; None where it is not known.
    counts
        Of the model and the data (see `memory.count`); None where they are not known.
    evaluated_rows
        Validation samples of an evaluation; 0: few.

    Raises
    ------
    ConfigError
        If the configuration cannot be trained, with the fact, the value and the remedy.
    """
    check_config(config)
    objective = build_objective(config.objective)
    metric = objective.metric(config.metric)
    config = replace(config, metric=metric.name, schedule=resolve(config.schedule))
    gpus = config.gpus or (1 if devices.world is None else devices.world.size)
    executor, executor_reason, device, processes = choose_executor(config, gpus, devices, counts)

    global_batch = config.micro_batch * gpus * config.grad_accum
    if samples_per_pass is not None and global_batch > samples_per_pass:
        largest = samples_per_pass // (config.micro_batch * config.grad_accum)
        raise ConfigError(
            f"the global batch of {global_batch:,} samples (micro_batch={config.micro_batch} x "
            f"gpus={gpus} x grad_accum={config.grad_accum}) is larger than the training split of "
            f"{samples_per_pass:,}",
            f"give gpus of at most {largest:,}, or a smaller micro_batch",
        )
    eval_interval = config.eval_interval_samples or _eval_interval_samples(config, evaluated_rows)
    budget = _budget_samples(config, samples_per_pass, eval_interval)
    steps = math.ceil(budget / global_batch)
    training_step, training_step_reason = choose_training_step(
        config, executor, device, steps, global_batch
    )

    memory = None
    if counts is not None:
        available = devices.memory_bytes(device)
        memory = predict(config, counts, gpus, executor, device, processes, available)
        check_memory(config, memory, device, processes)

    tuned = baselines.find(config)
    base_lr, base_lr_source = _base_lr(config, tuned)
    target, target_source = _target(config, metric, tuned)
    schedule, groups = scaled_schedule_and_groups(
        config,
        ScheduleContext(
            base_lr=base_lr,
            gpus=gpus,
            global_batch=global_batch,
            samples_per_pass=samples_per_pass,
            momentum=config.optimizer.momentum_now,
        ),
    )
    check_schedule(config, schedule, steps, global_batch)
    plan = Plan(
        config=replace(config, gpus=gpus, base_lr=base_lr, target=target),
        objective=objective,
        executor=executor,
        executor_reason=executor_reason,
        device=device,
        training_step=training_step,
        training_step_reason=training_step_reason,
        processes=processes,
        memory=memory,
        global_batch=global_batch,
        replicas_per_device=gpus // processes,
        samples_per_pass=samples_per_pass,
        data_key=data_key,
        budget_samples=budget,
        steps=steps,
        eval_interval_samples=eval_interval,
        base_lr_source=base_lr_source,
        schedule=schedule,
        groups=groups,
        target_source=target_source,
        checkpoint_interval_samples=config.checkpoint_interval_samples
        or samples_per_pass
        or eval_interval,
    )
    _ = plan.noise_scale_steps  # (raises ConfigError for a budget without room for it)
    return plan


def _eval_interval_samples(config: Config, evaluated_rows: int) -> int:
    """Samples between evaluations, the same for every arm.

    After many rows it is so long that evaluation is predicted to take at most a fifth of the time.
    The prediction is from counts, because a measured time would differ from start to start.
    """
    shortest = DEFAULT_EVAL_INTERVAL_MICRO_BATCHES * config.micro_batch
    if evaluated_rows <= FEW_EVALUATED_ROWS:
        return shortest
    evaluation = EVALUATED_ROW_IN_SAMPLES * evaluated_rows
    return math.ceil(evaluation * (1 / MOST_EVAL_SHARE - 1) / shortest) * shortest


def _budget_samples(config: Config, samples_per_pass: int | None, eval_interval: int) -> int:
    if config.budget_samples is not None:
        return config.budget_samples
    if samples_per_pass is None:
        raise ConfigError(
            "the budget is in passes, and the samples of a pass are not known",
            "give trainer.samples_per_pass=NUMBER, or budget_samples=NUMBER",
        )
    passes = DEFAULT_BUDGET_PASSES if config.budget_passes is None else config.budget_passes
    # Round up to a whole evaluation interval, so that the last evaluation is at the end of the
    # budget.
    return math.ceil(passes * samples_per_pass / eval_interval) * eval_interval


def _base_lr(config: Config, tuned: baselines.Lookup) -> tuple[float, str]:
    if config.base_lr is not None:
        return config.base_lr, "given"
    if tuned.baseline is None:
        raise ConfigError(
            f"no tuned base_lr ships for {tuned.described}{tuned.why_not}",
            "give base_lr=RATE; to find it, train at gpus=1 over a range of rates and take the "
            "best:\n     python -m bsscale -m schedule=fixed gpus=1 "
            "base_lr=0.01,0.03,0.1,0.3,1 [your options]",
        )
    return tuned.baseline.base_lr, f"tuned at gpus=1 for {tuned.described}"


def _target(config: Config, metric: Metric, tuned: baselines.Lookup) -> tuple[float | None, str]:
    if config.target is not None:
        return config.target, "given"
    if tuned.target is None or metric.name != baselines.METRIC.name:
        judged = "" if metric.name == baselines.METRIC.name else f" metric={metric.name}"
        return None, (
            f"none ships for {tuned.described}{judged}{tuned.why_not}; the run uses its whole "
            f"budget and reports its best {metric.title} (give target=VALUE)"
        )
    return tuned.target, f"median best AUC of the tuned 1-GPU runs - {baselines.TARGET_MARGIN}"
