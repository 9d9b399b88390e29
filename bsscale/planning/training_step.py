"""The choice of the training step: its form, and whether it is compiled."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Any

from bsscale.config import Config
from bsscale.errors import ConfigError

__all__ = ["choose_training_step", "ships"]

# Seconds that compiling takes, and that it saves per update of one run against torch's autograd.
# The CPU's are roughly those of one MLP on two cores, executor.compile=true against false; CUDA's
# are an estimate.
COMPILE_S = {"cpu": 25.0, "cuda": 40.0}
SAVED_PER_UPDATE_S = {"cpu": 5e-4, "cuda": 1e-3}
SAVED_PER_SAMPLE_S = {"cpu": 5e-7, "cuda": 0.0}


def choose_training_step(
    config: Config, executor: str, device: str, updates: int, global_batch: int
) -> tuple[str, str]:
    """Choose the training step, with the reason.

    Parameters
    ----------
    config
        The configuration of any of the runs.
    executor, device
        The planned ones.
    updates
        Of all runs that would be trained with the one step.
    global_batch
        Samples of one update.

    Returns
    -------
    str
        ``layers``: the shipped models' own forward and backward passes over stacked runs;
        ``compiled``: any model's, by torch.func and torch.compile; ``eager``: torch's autograd,
        run by run.
    str
        Why, in a few words.

    Raises
    ------
    ConfigError
        If the requested step is not possible.
    """
    if not config.trainer.ours:
        return "script", "its own"
    wanted = config.executor.compile
    if executor == "ddp":
        if wanted is True:
            raise ConfigError(
                "executor.compile=true with executor=ddp", "only executor=virtual compiles its step"
            )
        step, reason = "eager", "ddp"
    elif not config.optimizer.stackable:
        rule = f"optimizer={config.optimizer.name}"
        if wanted is True:
            raise ConfigError(
                f"executor.compile=true with {rule}, which has its own step() alone",
                "give executor.compile=auto: it is trained run by run; or an optimizer that ships",
            )
        step, reason = "eager", f"{rule} has its own step() alone, run by run"
    elif config.precision == "bf16":
        if wanted is True:
            raise ConfigError(
                "executor.compile=true with precision=bf16",
                "give executor.compile=auto: bf16 is trained run by run, by torch.autocast; or "
                "precision=fp32",
            )
        step, reason = "eager", "precision=bf16 is torch.autocast's, run by run"
    elif config.cowclip is not None and (wanted is True or not ships(config.model)):
        if wanted is True:
            raise ConfigError(
                f"executor.compile=true with cowclip={config.cowclip:g}, which counts the rows of "
                "each batch",
                "give executor.compile=auto: models that ship are trained as layers, others run by "
                "run; or cowclip=null",
            )
        step, reason = "eager", "cowclip counts the rows that the model reads, run by run"
    else:
        shipped = ships(config.model)
        saved_s = _compile_saving_s(shipped, device, updates, global_batch)
        compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
        cost_s = COMPILE_S[device]
        prediction = f"compiling would take about {cost_s:.0f} s and save about {saved_s:.0f} s"
        if wanted is True:
            if compiler is None:
                raise ConfigError(
                    "executor.compile=true without a C++ compiler",
                    "install one (apt-get install g++), or name it in CXX",
                )
            step, reason = "compiled", "asked for"
        elif shipped:
            step, reason = "layers", "not compiled: the shipped models' layers are as fast"
        elif wanted is False:
            step, reason = "eager", "executor.compile=false, and the model is not one of bsscale's"
        elif compiler is None:
            step, reason = "eager", "no C++ compiler to compile the step with"
        elif saved_s > cost_s:
            step, reason = "compiled", prediction
        else:
            step, reason = "eager", prediction
    if config.optimizer.sparse is True and step != "layers":
        raise ConfigError(
            f"optimizer.sparse=true with a training step that is {step} ({reason})",
            "give optimizer.sparse=auto; touched rows alone are updated with executor=virtual, "
            "executor.compile=auto, precision=fp32 or fp64 and a model that ships",
        )
    return step, reason


def ships(model: Mapping[str, Any]) -> bool:
    """Whether a model's configuration names one of bsscale's own."""
    return str(model.get("_target_", "")).startswith("bsscale.models.")


def _compile_saving_s(shipped: bool, device: str, updates: int, global_batch: int) -> float:
    """Predicted seconds that compiling saves, compared with the fastest uncompiled step."""
    if shipped:
        return 0.0
    return updates * (SAVED_PER_UPDATE_S[device] + SAVED_PER_SAMPLE_S[device] * global_batch)
