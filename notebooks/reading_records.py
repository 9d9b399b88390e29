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
# # Reading records
#
# A run is a folder. `run.json` has its configuration and its result, and `evals.jsonl` has one
# line for each evaluation. The tables, figures and W&B runs are all made from these files. This
# notebook trains a few runs and reads them without bsscale, with JSON, polars and Altair.

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


# %% [markdown]
# Three schedules at 8 GPUs on three seeds, with an offline copy for W&B (the default;
# `tracker=none` turns only W&B off).

# %%
printed = bsscale(
    "-m",
    *("schedule=fixed,linear_scaling,onecycle", "gpus=8", "seed=0,1,2", "base_lr=0.1"),
    *("dataset=synthetic", "dataset.samples_per_pass=50000", "dataset.validation_samples=20000"),
    *("model=mlp", "model.hidden=[32]", "model.embedding_dim=8", "micro_batch=32"),
    *("target=0.736", "budget_passes=3", "hydra.sweep.dir=sweep"),
)

# %% [markdown]
# ## Runs as a data frame
#
# A run that did not reach its target has `null` for `samples_to_target`: it is censored. It needs
# more samples than its budget, so it counts as infinite. The median of three is then still the
# second lowest.

# %%
paths = sorted(work.glob("sweep/*/run.json"))
records = [json.loads(path.read_text()) for path in paths]
columns = ("schedule", "seed", "status", "samples_to_target", "best_value", "steps", "wall_s")
runs = pl.DataFrame([{key: record[key] for key in columns} for record in records])
runs

# %%
runs.group_by("schedule", maintain_order=True).agg(
    reached=(pl.col("status") == "reached").sum(),
    median_samples=pl.col("samples_to_target").fill_null(float("inf")).median(),
    median_best_value=pl.col("best_value").median(),
)

# %% [markdown]
# The record also has the whole resolved configuration and the versions of the packages:

# %%
schedule = records[-1]["config"]["schedule"]
print({key: value for key, value in schedule.items() if value is not None})
print(records[-1]["environment"]["packages"])

# %% [markdown]
# ## Evaluations, and plots of your own
#
# Evaluations are at the same sample counts whatever the batch is, so runs can be compared point by
# point. These figures show the AUC and the learning rate over samples.

# %%
metric = Criterion(records[0]["metric"], records[0]["direction"])
evals = pl.concat(
    pl.read_ndjson(path.with_name("evals.jsonl"), infer_schema_length=None)
    .select("samples", pl.col(metric.name, "lr", "train_loss").cast(pl.Float64))
    .with_columns(schedule=pl.lit(record["schedule"]), seed=pl.lit(record["seed"]))
    for path, record in zip(paths, records, strict=True)
)


def for_a_talk(chart, width: int = 620, height: int = 320):
    """A chart with letters that the last row can read."""
    return (
        chart.properties(width=width, height=height)
        .configure_axis(labelFontSize=14, titleFontSize=15, gridOpacity=0.4)
        .configure_legend(labelFontSize=14, titleFontSize=14, symbolStrokeWidth=4)
        .configure_view(strokeWidth=0)
    )


alt.renderers.enable("svg")
lines = alt.Chart(evals.filter(pl.col("samples") > 0)).encode(
    x=alt.X("samples", axis=alt.Axis(format="~s")),
    color=alt.Color("schedule", title=None, scale=alt.Scale(scheme="dark2")),
    detail="seed",
)
for_a_talk(
    lines.mark_line(strokeWidth=2).encode(
        y=alt.Y(metric.name, title=f"validation {metric.title}", scale=alt.Scale(zero=False))
    )
)

# %%
for_a_talk(lines.mark_line(strokeWidth=3).encode(y=alt.Y("lr", title="learning rate")), height=200)

# %% [markdown]
# ## W&B or not
#
# Each run folder has an offline W&B run with the same numbers. `wandb leet RUN/wandb` shows it in
# a terminal. `wandb sync RUN/wandb/offline-run-*` uploads it, and `tracker.mode=online` sends runs
# while they train. The cells below do not need W&B.

# %%
[mirror] = (work / "sweep/0/wandb").glob("offline-run-*/*.wandb")
print(mirror.name.startswith("run-"), f"{mirror.stat().st_size / 1000:.0f} kB")

# %% [markdown]
# ## bsscale's own comparison
#
# `task=report` computes the medians, the intervals and the verdicts from the same files. It writes
# `report.csv`, `samples.csv` and `report.json` for notebooks.

# %%
bsscale("task=report", "task.runs=sweep", "task.out=report")
pl.read_csv(work / "report/report.csv").select(
    pl.col("arm").str.split(" ").list.first(),
    "reached", "runs", "median_samples_to_target", "ratio_to_baseline",
)  # fmt: skip

# %% [markdown]
# ## Records of a question: does the number of stairs matter?
#
# `python -m bsscale -m +sweeps=stair_counts` trains 1-Cycles with 25 combinations of stair counts
# on 10 seeds each (see `docs/stair_counts.md`). The reports are in `docs/studies`. Each cell is
# the ratio of medians to the continuous cycle. It is bold if its interval excludes 1; the 24
# intervals of a panel hold together with 95%.

# %%
kept = Path.cwd().resolve().parent / "docs/studies/stair-counts"
stairs = pl.concat(
    pl.read_csv(kept / data / "report.csv", infer_schema_length=None)
    .select("arm", pl.col("ratio_to_baseline", "together_low", "together_high").cast(pl.Float64))
    .with_columns(data=pl.lit(data))
    for data in ("flights", "synthetic")
).with_columns(
    rise=pl.col("arm").str.extract(r"first_stair_count=(\d+)").cast(int),
    fall=pl.col("arm").str.extract(r"second_stair_count=(\d+)").cast(int),
    ratio=pl.col("ratio_to_baseline").fill_null(1.0),
    told_apart=((pl.col("together_low") > 1) | (pl.col("together_high") < 1)).fill_null(False),
)
cells = alt.Chart().encode(
    x=alt.X("fall:O", title="stairs in the fall", axis=alt.Axis(labelAngle=0)),
    y=alt.Y("rise:O", title="stairs in the rise"),
)
scale = alt.Scale(scheme="blueorange", type="log", domain=[0.5, 2])
tiles = cells.mark_rect().encode(color=alt.Color("ratio", title="ratio", scale=scale))
numbers = cells.mark_text(fontSize=14).encode(text=alt.Text("ratio", format=".2f"))
bold = numbers.transform_filter("datum.told_apart").mark_text(fontSize=14, fontWeight="bold")
plain = numbers.transform_filter("!datum.told_apart")
(
    alt.layer(tiles, plain, bold, data=stairs)
    .properties(width=270, height=270)
    .facet(alt.Column("data:N", title=None, header=alt.Header(labelFontSize=15)))
    .configure_axis(labelFontSize=14, titleFontSize=15)
)

# %% [markdown]
# A half with a single stair stays at the minimum except for one step, and is slower everywhere.
# With five or more stairs in each half, no difference from the continuous cycle was found on
# flights. On synthetic clicks, few stairs in the fall are faster by up to a tenth. Fewer stairs
# also have a lower rate on average, and this comparison cannot separate the two effects.
