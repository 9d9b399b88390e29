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
# # A first study
#
# A job is well tuned on 1 GPU. Now it gets 8. What must you do to its learning rate so that it
# needs no more samples than before? One command registers the question, tunes the rates, trains
# every arm on the same seeds and compares the arms. This notebook reads the files that it writes.
#
# The data are a synthetic click stream and the model is small, so the study takes half a minute.
# Without the `dataset` and `model` lines, the same command studies real flights.

# %%
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import altair as alt
import polars as pl

from bsscale.objectives import Criterion

work = Path(tempfile.mkdtemp(prefix="bsscale-"))
os.environ.pop("FORCE_COLOR", None)  # Jupyter sets it: output would be full of escapes


def bsscale(*arguments: str) -> str:
    """Run `python -m bsscale` in the work directory; what it printed."""
    command = [sys.executable, "-m", "bsscale", *arguments]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout


# %%
printed = bsscale(
    "task=study",
    "gpus=8",
    "task.directory=study",
    *("dataset=synthetic", "dataset.samples_per_pass=100000", "dataset.validation_samples=20000"),
    *("model=mlp", "model.hidden=[32]", "model.embedding_dim=8", "micro_batch=32"),
    # Small: 6 seeds are the fewest that give a 95% interval, and four arms are left out.
    *("task.seeds=6", "task.trials=5", "task.tuning_seeds=1", "task.target_seeds=3"),
    *("~task.arms.sqrt_scaling", "~task.arms.linear_warmup"),
    *("~task.arms.tuned_constant", "~task.arms.onecycle_one_gpu"),
    "tracker=none",
)

# %% [markdown]
# ## What the study fixed before it trained any arm
#
# It tuned the rate of the 1-GPU job, fixed the target by tuned 1-GPU runs, and configured the
# 1-Cycle by a range test, each on seeds of its own. It registered arms and rules with a hash.

# %%
study = json.loads((work / "study/study.json").read_text())
report = json.loads((work / "study/report/report.json").read_text())
metric = Criterion(report["arms"][0]["metric"], report["arms"][0]["direction"])
print("registered as", study["hash"])
print("base_lr      ", f"{study['base_lr']:.3g}")
print("target       ", f"{metric.title} {study['target']:.4f}")

# %% [markdown]
# ## Model convergence
#
# The lines are the median of each arm over samples, and the bands are the middle half of its
# seeds. The dashed line is the target. The result of an arm is the point where its curve crosses
# it.

# %%
arms = [arm["arm"] for arm in report["arms"]]
color = alt.Color(
    "arm",
    title=None,
    scale=alt.Scale(domain=arms, range=[report["styles"][arm]["color"] for arm in arms]),
    legend=alt.Legend(symbolType="stroke", symbolOpacity=1),
)
curves = pl.concat(
    pl.DataFrame(curve).with_columns(arm=pl.lit(arm)) for arm, curve in report["curves"].items()
)
samples = alt.X("samples", title="samples", axis=alt.Axis(format="~s"))
worse, better = (study["target"] + metric.sign * each for each in (-0.06, 0.01))
scale = alt.Scale(domain=sorted([worse, better]))
base = alt.Chart(curves).encode(x=samples, color=color)
median = base.mark_line(strokeWidth=3, clip=True).encode(
    y=alt.Y("median", title=f"validation {metric.title}", scale=scale)
)
band = base.mark_area(opacity=0.18, clip=True).encode(y=alt.Y("low", scale=scale), y2="high")
goal = pl.DataFrame({"median": [study["target"]]})
target = alt.Chart(goal).mark_rule(strokeDash=[6, 4]).encode(y="median")


def for_a_talk(chart: alt.LayerChart | alt.Chart, width: int = 620, height: int = 320):
    """A chart with letters that the last row can read."""
    return (
        chart.properties(width=width, height=height)
        .configure_axis(labelFontSize=14, titleFontSize=15, gridOpacity=0.4)
        .configure_legend(labelFontSize=14, symbolStrokeWidth=4)
        .configure_view(strokeWidth=0)
    )


alt.renderers.enable("svg")
for_a_talk(band + target + median)

# %% [markdown]
# ## The answer
#
# The ratio is the samples to the target divided by those of the 1-GPU job. Its 95% interval is
# that of the ratio of medians, by a bootstrap over paired seeds. A ratio of 1 means that the
# larger batch costs no samples.

# %%
table = pl.read_csv(work / "study/report/report.csv")
table.select(
    "arm", "reached", "runs", pl.col("median_samples_to_target").round(0), "ratio_to_baseline",
    "ratio_low", "ratio_high",
)  # fmt: skip

# %%
ratios = alt.Chart(table.filter(pl.col("role") != "baseline")).encode(
    y=alt.Y("arm", title=None, sort=arms), color=color.legend(None)
)
interval = ratios.mark_rule(strokeWidth=5, opacity=0.5).encode(
    x=alt.X("ratio_low", title="samples to the target, times those of 1 GPU"), x2="ratio_high"
)
point = ratios.mark_point(size=180, filled=True, opacity=1).encode(x="ratio_to_baseline")
one = alt.Chart(pl.DataFrame({"x": [1.0]})).mark_rule(strokeDash=[6, 4]).encode(x="x")
for_a_talk(one + interval + point, height=160)

# %% [markdown]
# ## The conclusion, in bsscale's words

# %%
for row in table.filter(pl.col("verdict").is_not_null()).iter_rows(named=True):
    print(f"{row['arm']}: {row['verdict']}")

# %% [markdown]
# Six seeds are enough to detect a factor of two, but not a difference of a tenth. Start the
# command again with `task.seeds=20`: it trains only the new seeds. `study/report/report.html` in
# the work directory is the whole report, in one file that works offline.
