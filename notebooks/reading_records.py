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
# A run is a folder: `run.json` says what was run and what came of it, `evals.jsonl` has a line for
# every evaluation. That is all there is; the tables, figures and W&B runs are made from it. This
# notebook makes a few runs and reads them without bsscale: JSON, polars and Altair.

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
# Three schedules at 8 GPUs on three seeds, mirrored to W&B offline (the default; `tracker=none`
# leaves W&B out and changes nothing else).

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
# more than it was given, so it counts as infinite, and the median of three is the second lowest.

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
# The whole resolved configuration is in the record as well, and the versions it ran with:

# %%
schedule = records[-1]["config"]["schedule"]
print({key: value for key, value in schedule.items() if value is not None})
print(records[-1]["environment"]["packages"])

# %% [markdown]
# ## Evaluations, and plots of your own
#
# Evaluations fall on the same grid in samples whatever the batch is, so runs can be compared point
# by point. Here: what the learning rate was, against what was learnt.

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
# Each run folder has its offline W&B run, with the same numbers. `wandb leet RUN/wandb` shows it in
# a terminal, `wandb sync RUN/wandb/offline-run-*` uploads it, and `tracker.mode=online` sends it as
# it happens. Nothing below needs any of that.

# %%
[mirror] = (work / "sweep/0/wandb").glob("offline-run-*/*.wandb")
print(mirror.name.startswith("run-"), f"{mirror.stat().st_size / 1000:.0f} kB")

# %% [markdown]
# ## bsscale's own comparison
#
# The censored medians, the intervals and the verdicts are made by `task=report` from the same
# files; `report.csv` and `report.json` are for notebooks.

# %%
bsscale("task=report", "task.runs=sweep", "task.out=report")
pl.read_csv(work / "report/report.csv").select(
    pl.col("arm").str.split(" ").list.first(),
    "reached", "runs", "median_samples_to_target", "ratio_to_baseline",
)  # fmt: skip

# %% [markdown]
# ## Records of a question: does the number of stairs matter?
#
# `python -m bsscale -m +sweeps=stair_counts` trains a 1-Cycle in 25 stair counts on 10 seeds
# (see `docs/stair_counts.md`). Its reports are in `docs/studies`. A cell is the ratio of medians
# to the continuous cycle, in bold where the 95% interval excludes 1. With 24 comparisons a panel,
# one or so would by chance.

# %%
kept = Path.cwd().resolve().parent / "docs/studies/stair-counts"
stairs = pl.concat(
    pl.read_csv(kept / data / "report.csv", infer_schema_length=None)
    .select("arm", pl.col("ratio_to_baseline", "ratio_low", "ratio_high").cast(pl.Float64))
    .with_columns(data=pl.lit(data))
    for data in ("flights", "synthetic")
).with_columns(
    rise=pl.col("arm").str.extract(r"first_stair_count=(\d+)").cast(int),
    fall=pl.col("arm").str.extract(r"second_stair_count=(\d+)").cast(int),
    ratio=pl.col("ratio_to_baseline").fill_null(1.0),
    told_apart=((pl.col("ratio_low") > 1) | (pl.col("ratio_high") < 1)).fill_null(False),
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
# A single stair, which stays at the minimum but for one step, is slower everywhere. From five
# stairs in each half on, nothing is told apart from the continuous cycle on flights; on synthetic
# clicks few stairs in the fall are faster by up to a tenth. Fewer stairs are also a lower rate on
# average, and this comparison does not take the two apart.
