"""A `Plan`: every derived number of a run."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, cast

from bsscale.config import Config
from bsscale.files.replace import plain
from bsscale.objectives import Metric, Objective
from bsscale.optimizers.averaging import WeightAverage
from bsscale.optimizers.cowclip import CowClip
from bsscale.optimizers.groups import ParameterGroup
from bsscale.planning.memory import Memory, describe_memory
from bsscale.planning.noise_scale import Passes, measured_steps
from bsscale.planning.speed import Speed
from bsscale.records.identity import identifying
from bsscale.records.secrets import without_secrets
from bsscale.schedules import Schedule

__all__ = ["Plan"]


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
    speed
        How long its updates take, as predicted; None where no rule is known.
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
    speed: Speed | None
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
    def cowclip(self) -> CowClip | None:
        """How the rows of embedding tables are clipped; None if they are not."""
        return CowClip.of(self.config.cowclip, self.config.cowclip_bound)

    @property
    def average(self) -> WeightAverage | None:
        """The average of the weights that is evaluated; None: the weights are."""
        half_life = self.config.ema_half_life_samples
        return WeightAverage.of(half_life, self.global_batch, self.budget_samples)

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
                    **({} if self.cowclip is None else {"cowclip": asdict(self.cowclip)}),
                    **({} if self.average is None else {"average": asdict(self.average)}),
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
