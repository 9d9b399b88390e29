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
# # Your own model and data
#
# You have a table with a 0/1 column and a `torch.nn.Module`. What happens to *your* job at 8 times
# the batch?

# %%
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import altair as alt
import numpy as np
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
# ## The data: a Parquet file
#
# (CSV and TSV files work too.) Text columns are categorical and number columns are numeric, unless
# `dataset.categorical` and `dataset.numeric` name the columns.

# %%
rng = np.random.default_rng(0)
rows = 80_000
site, hour = rng.zipf(1.3, rows) % 200, rng.integers(0, 24, rows)
price = rng.lognormal(size=rows)
logit = rng.normal(size=200)[site] + np.sin(hour / 4) - 0.8 * np.log(price) - 1.2
clicked = rng.random(rows) < 1 / (1 + np.exp(-logit))
clicks = pl.DataFrame({"site": site, "hour": hour, "price": price, "clicked": clicked})
clicks = clicks.with_columns(pl.col("site", "hour").cast(pl.String), pl.col("clicked").cast(int))
clicks.write_parquet(work / "clicks.parquet")
clicks.head(3)

# %% [markdown]
# ## The model: a module
#
# Its constructor receives the number of categories of each field and the number of numeric fields.

# %%
MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, cardinalities, numeric_fields, width=32):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(n, 8) for n in cardinalities)
        inputs = 8 * len(cardinalities) + numeric_fields
        self.top = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, categorical, numeric):  # (n, fields), (n, numeric_fields) -> (n,)
        vectors = [table(categorical[:, i]) for i, table in enumerate(self.tables)]
        return self.top(torch.cat([*vectors, numeric], dim=1)).squeeze(1)
"""
(work / "my_model.py").write_text(MODEL)
mine = [
    *("dataset=table", "dataset.path=clicks.parquet", "dataset.label=clicked"),
    *("model=custom", "model._target_=my_model.Net", "micro_batch=32", "gpus=8", "tracker=none"),
]

# %% [markdown]
# ## Range test: how high may the rate go?
#
# The rate grows from far too low to far too high while the model trains. The edge is the rate at
# which the loss rises beyond its noise. The suggested cycle follows from the lowest edge of three
# seeds.

# %%
printed = bsscale("task=range_test", *mine, "base_lr=0.1", "hydra.run.dir=range")
print(printed[printed.index("reading ") : printed.index("as a preset")])

# %%
tested = json.loads((work / "range/range_test.json").read_text())
metric = Criterion(tested["metric"], tested["direction"])
ramps = pl.concat(
    pl.read_ndjson(path, infer_schema_length=None)
    .select(pl.col("lr", metric.name).cast(pl.Float64))
    .with_columns(seed=pl.lit(path.parent.name))
    for path in sorted(work.glob("range/seed-*/evals.jsonl"))
).drop_nulls()
peak = pl.DataFrame({"lr": [tested["suggestion"]["cycle_max_lr"]], "text": ["suggested peak"]})


def for_a_talk(chart, width: int = 620, height: int = 300):
    """A chart with letters that the last row can read."""
    return (
        chart.properties(width=width, height=height)
        .configure_axis(labelFontSize=14, titleFontSize=15, gridOpacity=0.4)
        .configure_legend(labelFontSize=14, symbolStrokeWidth=4)
        .configure_view(strokeWidth=0)
    )


alt.renderers.enable("svg")
ramp = (
    alt.Chart(ramps)
    .mark_line(strokeWidth=2.5)
    .encode(
        x=alt.X("lr", title="learning rate", scale=alt.Scale(type="log")),
        y=alt.Y(metric.name, title=f"validation {metric.title}", scale=alt.Scale(zero=False)),
        color=alt.Color("seed", title=None, scale=alt.Scale(scheme="dark2")),
    )
)
mark = alt.Chart(peak).encode(x="lr")
text = mark.mark_text(align="right", dx=-6, fontSize=14).encode(text="text", y=alt.value(280))
for_a_talk(ramp + mark.mark_rule(strokeDash=[6, 4]) + text)

# %% [markdown]
# ## The study
#
# Nobody has tuned this model, so the study does it. It finds the rate at 1 GPU, the target and the
# cycle, each on seeds of its own. Then it trains every arm on the same six seeds.

# %%
printed = bsscale(
    "task=study",
    *mine,
    "task.directory=study",
    *("task.seeds=6", "task.trials=4", "task.tuning_seeds=1", "task.target_seeds=3"),
    *("~task.arms.sqrt_scaling", "~task.arms.linear_warmup"),
    *("~task.arms.tuned_constant", "~task.arms.onecycle_one_gpu"),
)
table = pl.read_csv(work / "study/report/report.csv")
table.select(
    "arm", "reached", "runs", pl.col("median_samples_to_target").round(0), "ratio_to_baseline",
    "ratio_low", "ratio_high",
)  # fmt: skip

# %%
seeds = pl.concat(
    pl.DataFrame(arm["seeds"], infer_schema_length=None)
    .select("seed", pl.col("samples").cast(pl.Float64))
    .with_columns(arm=pl.lit(arm["arm"]))
    for arm in json.loads((work / "study/report/report.json").read_text())["arms"]
)
arms = alt.Chart(seeds).encode(
    x=alt.X("samples", title="samples to the target", axis=alt.Axis(format="~s")),
    y=alt.Y("arm", title=None, sort=table["arm"].to_list()),
    color=alt.Color("arm", legend=None, scale=alt.Scale(scheme="dark2")),
)
dots = arms.mark_point(filled=True, size=90, opacity=0.6)
# (The report's medians: a run that did not reach the target is infinite in them, not left out.)
medians = (
    alt.Chart(table)
    .mark_tick(thickness=4, size=34)
    .encode(x="median_samples_to_target", y=arms.encoding.y, color=arms.encoding.color)
)
for_a_talk(dots + medians, height=220)

# %%
for row in table.filter(pl.col("verdict").is_not_null()).iter_rows(named=True):
    print(f"{row['arm']}: {row['verdict']}")
