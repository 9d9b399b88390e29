"""Studies of a shell script whose curves have a formula, carried out in this process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bsscale.cli.jobs import Job
from bsscale.data import Dataset
from bsscale.data.of_script import ScriptDataset
from bsscale.records.study_record import StudyRecord
from bsscale.study.protocol import study
from tests.composing import composed

# AUC after s samples: 0.9 - 0.4 exp(-s / tau). A rate off 0.1 is slower; so is a seed above 0.
SCRIPT = """
exec awk 'BEGIN {
    off = log(ENVIRON["BSSCALE_LR"] / 0.1); seed = ENVIRON["BSSCALE_SEED"] % 10
    tau = 600 * (1 + seed / 10) * exp(off * off / 2)
    for (s = 200; s <= ENVIRON["BSSCALE_BUDGET_SAMPLES"]; s += 200)
        printf "{\\"samples\\": %d, \\"auc\\": %.9f}\\n", s, 0.9 - 0.4 * exp(-s / tau)
}'
"""
WORDS = (
    "task=study",
    "trainer=script",
    "trainer.samples_per_pass=1000",
    "gpus=4",
    "micro_batch=10",
    "eval_interval_samples=200",
    "tracker=none",
    "task.seeds=3",
    *(
        f"~task.arms.{name}"
        for name in (
            "sqrt_scaling", "linear_warmup", "onecycle", "tuned_constant", "tuned_onecycle",
            "onecycle_one_gpu",
        )
    ),
)  # fmt: skip
DATASET: Dataset = ScriptDataset.of(1000, None)


def auc(samples: float, seed: int) -> float:
    """Of the rate 0.1."""
    return 0.9 - 0.4 * math.exp(-samples / (600 * (1 + seed / 10)))


def a_script(directory: Path) -> str:
    """The option that names the script."""
    (directory / "train.sh").write_text(SCRIPT)
    return f'trainer.command="sh {directory}/train.sh"'


def carried_out(directory: Path, words: Sequence[str], **task: Any) -> StudyRecord:
    """A study, or what is left of it, with its report; `hydra` must be set up."""
    config = Job(composed(*WORDS, *words), None).config
    options = replace(config.task, directory=str(directory / "study"), **task)  # type: ignore[call-arg]
    return study(replace(config, task=options), DATASET)
