# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own training script
#
# The script below trains a logistic regression with NumPy. Neither its model nor its data are
# bsscale's. Five lines with `run` make it a trainer of bsscale: a study starts it once a run and
# finds out how to train it on 8 GPUs.

# %%
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import altair as alt
import polars as pl

work = Path(tempfile.mkdtemp(prefix="bsscale-"))
os.environ.pop("FORCE_COLOR", None)  # Jupyter sets it: output would be full of escapes
(work / "train.py").write_text("""
import numpy as np
from bsscale.bridge import join

run = join()  # the run that bsscale started this script for
chance = np.random.default_rng(1)
rows = chance.normal(size=(14_000, 20))
labels = chance.random(14_000) < 1 / (1 + np.exp(-rows @ chance.normal(size=20)))
order, weights, samples = np.random.default_rng(run.seed), np.zeros(20), 0
while True:
    batch = order.integers(10_000, size=run.global_batch)
    error = 1 / (1 + np.exp(-rows[batch] @ weights)) - labels[batch]
    rate = run.schedule.lr(samples // run.global_batch)
    weights -= rate * rows[batch].T @ error / run.global_batch
    samples += run.global_batch
    if run.due(samples):  # the evaluation grid
        z = (2 * labels[10_000:] - 1) * (rows[10_000:] @ weights)
        if run.report(samples, log_loss=np.logaddexp(0, -z).mean()):
            break  # reached, diverged or spent
""")


def bsscale(*arguments: str) -> str:
    """Run `python -m bsscale` in the work directory; what it printed."""
    command = [sys.executable, "-m", "bsscale", *arguments]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout


# %% [markdown]
# ## What the study would cost
#
# `dry_run=true` starts no script.

# %%
study = [
    *("task=study", "gpus=8", "task.directory=study", "tracker=none"),
    *("trainer=script", f'trainer.command="{shlex.quote(sys.executable)} train.py"'),
    *("trainer.samples_per_pass=10000", "trainer.search_range=[0.05,3]"),
    *("metric=log_loss", "task.margin=0.005", "micro_batch=16", "eval_interval_samples=512"),
    # Small: 6 seeds are the fewest that give a 95% interval.
    *("task.seeds=6", "task.trials=5", "task.tuning_seeds=1", "task.finalist_seeds=1"),
    *("task.target_seeds=3", "task.range_test_seeds=1", "workers=2"),
    *("~task.arms.sqrt_scaling", "~task.arms.linear_warmup", "~task.arms.tuned_constant"),
    *("~task.arms.tuned_onecycle", "~task.arms.onecycle_one_gpu"),
]
plan = bsscale(*study, "dry_run=true")
print("\n".join(line for line in plan.splitlines() if line.split()[:1] in (["arms"], ["cost"])))

# %% [markdown]
# ## The study
#
# It tunes the rate at 1 GPU, fixes the target, configures the 1-Cycle by a range test, and trains
# every arm on the same seeds. Lower values of the log loss are better.

# %%
printed = bsscale(*study)
report = json.loads((work / "study/report/report.json").read_text())
print(report["verdict"])

# %%
arms = [arm["arm"] for arm in report["arms"]]
colors = [report["styles"][arm]["color"] for arm in arms]
color = alt.Color("arm", title=None, scale=alt.Scale(domain=arms, range=colors))
curves = pl.concat(
    pl.DataFrame(curve).with_columns(arm=pl.lit(arm)) for arm, curve in report["curves"].items()
)
target = json.loads((work / "study/study.json").read_text())["target"]
scale = alt.Scale(domain=[target - 0.01, target + 0.1])
lines = (
    alt.Chart(curves)
    .mark_line(strokeWidth=3, clip=True)
    .encode(
        x=alt.X("samples", axis=alt.Axis(format="~s")),
        y=alt.Y("median", title="validation log loss", scale=scale),
        color=color,
    )
)
goal = alt.Chart(pl.DataFrame({"median": [target]})).mark_rule(strokeDash=[6, 4]).encode(y="median")
alt.renderers.enable("svg")
(lines + goal).properties(width=620, height=300)

# %% [markdown]
# ## Runs that exist already
#
# Another study can adopt the 1-GPU runs of this one, or curves in a CSV file, instead of training
# them again. Its report marks them as unregistered.

# %%
found = bsscale(*study, "task.directory=second", "task.adopt=study", "dry_run=true")
print("\n".join(line for line in found.splitlines() if line.split()[:1] in (["adopted"], ["cost"])))
