"""Data in the format of Criteo's challenge, and what their preparation costs.

    python -m tests.benchmarks.criteo generate train.txt --rows 1000000
    python -m tests.benchmarks.criteo prepare train.txt
    python -m tests.benchmarks.criteo start train.txt

Each line has a label, 13 counts and 26 ids of eight hexadecimal digits, separated by tabs, without
a header. Counts and ids may be empty. The cardinalities are those of the challenge (33.8 million
ids); the k-th id of a field occurs about 1/k as often as its first one (Zipf). The label depends on
some of the ids and counts. ``prepare`` prints the CPU seconds of the preparation and of a second
start, and the most memory that the process had (ru_maxrss, which includes mapped pages). It uses a
cache of its own, which it removes; --options takes the loader's options as JSON. ``start`` uses the
user's cache, where the file must be prepared, and prints the CPU seconds of each part of a start up
to the first update.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

CARDINALITIES = (
    1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194, 27, 14992,
    5461306, 10, 5652, 2173, 4, 7046547, 18, 15, 286181, 105, 142572,
)  # fmt: skip
COUNTS = 13
# Share of rows in which each count, and each id, is missing.
NO_COUNT = (0.45, 0, 0.21, 0.22, 0.03, 0.22, 0.04, 0, 0.04, 0.45, 0.04, 0.76, 0.22)
NO_ID = tuple(
    0.76 if field in (18, 19, 24, 25) else 0.03 if field in (2, 3) else 0 for field in range(26)
)
ROWS_AT_ONCE = 500_000
NAMES = (
    "label",
    *(f"I{number}" for number in range(1, COUNTS + 1)),
    *(f"C{number}" for number in range(1, len(CARDINALITIES) + 1)),
)


def generate(path: Path, rows: int, seed: int = 0) -> None:
    """Write so many rows; the same rows for the same seed."""
    names = [_hexadecimal(field, min(k, 4 * rows)) for field, k in enumerate(CARDINALITIES)]
    weights = np.random.default_rng([seed, 1]).normal(0, 0.35, (len(CARDINALITIES), 4096))
    with path.open("wb") as file:
        for start in range(0, rows, ROWS_AT_ONCE):
            rng = np.random.default_rng([seed, 2, start])
            count = min(ROWS_AT_ONCE, rows - start)
            columns, logit = {}, np.full(count, -1.4)
            for number in range(COUNTS):
                values = np.floor(rng.lognormal(0.4 * (number % 6), 1.5, count)).astype(np.int64)
                if number == 1:
                    values -= rng.integers(0, 4, count)
                logit += 0.1 * np.log1p(np.maximum(values, 0)) * (-1) ** number
                columns[NAMES[1 + number]] = _with_missing(rng, pl.Series(values), NO_COUNT[number])
            for field, table in enumerate(names):
                # A uniform logarithm: the frequency falls with 1 / rank.
                ids = np.exp(rng.random(count) * np.log(len(table) + 1)).astype(np.int64) - 1
                ids = np.clip(ids, 0, len(table) - 1)
                logit += weights[field, ids % 4096]
                columns[NAMES[1 + COUNTS + field]] = _with_missing(
                    rng, table.gather(ids), NO_ID[field]
                )
            label = (rng.random(count) < 1 / (1 + np.exp(-logit))).astype(np.int8)
            frame = pl.DataFrame({"label": pl.Series(label), **columns})
            frame.write_csv(file, include_header=False, separator="\t")


def _hexadecimal(field: int, count: int) -> pl.Series:
    """Different names of eight hexadecimal digits, in no order."""
    # (an odd factor makes different numbers of different ones)
    numbers = np.arange(field * 20_000_003, field * 20_000_003 + count, dtype=np.uint64)
    mixed = (numbers * np.uint64(2654435761)) % np.uint64(2**32)
    return pl.Series([f"{number:08x}" for number in mixed.tolist()])


def _with_missing(rng: np.random.Generator, values: pl.Series, share: float) -> pl.Series:
    if not share:
        return values
    kept = pl.Series(rng.random(len(values)) >= share)
    return values.zip_with(kept, pl.Series([None], dtype=values.dtype))


def prepare(path: Path, options: dict[str, object]) -> None:
    """Prepare it in a process of its own, twice, and print what that takes."""
    with tempfile.TemporaryDirectory(prefix="bsscale-criteo-", dir=path.parent) as cache:
        for start in ("first", "second"):
            code = [sys.executable, "-c", _PREPARE, cache, str(path), json.dumps(options)]
            done = subprocess.run(code, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stdout + done.stderr)
            print(f"{start} start: {done.stdout.strip()}")


_PREPARE = """
import json, os, sys
os.environ["BSSCALE_CACHE_DIR"] = sys.argv[1]
from bsscale.data import table
sys.path.insert(0, os.getcwd())
from tests.benchmarks.criteo import measured
measured(lambda: table.load(sys.argv[2], **json.loads(sys.argv[3])))
"""


_START = """
import os, sys, time
sys.path.insert(0, os.getcwd())
parts, last = {}, [0.0, time.time()]
def part(name):
    now = time.process_time()
    parts[name] = (now - last[0], time.time() - last[1])
    last[:] = [now, time.time()]
import torch
import bsscale.cli.entry
from bsscale.data import load_dataset
from bsscale.engines.stacked import StackedEngine
from bsscale.optimizers import SGDConfig
from bsscale.planning.checks import check_labels
from bsscale.planning.derive import make_plan
from bsscale.planning.devices import Devices
from bsscale.planning.memory import count
from tests.helpers import MODELS, small_config
torch.set_num_threads(1)
config = small_config(
    model=MODELS["dlrm"], optimizer=SGDConfig(momentum=0.0), micro_batch=128,
    dataset={"_target_": "bsscale.data.criteo.load", "name": "criteo", "path": sys.argv[1]},
)
part("imports")
dataset = load_dataset(config.dataset)
part("opening the data")
dataset.train.read(0, 0, 128)
part("first batch")
check_labels(config, dataset)
counts = count(config.model, dataset)
plan = make_plan(config, dataset.samples_per_pass, Devices(cuda=0), dataset.key, counts)
part("labels and plan")
engine = StackedEngine(plan, dataset)
engine.begin(0, plan)
part("model")
engine.advance(1)
part("first update")
engine.evaluate(dataset.evaluated).metrics(0, plan.objective)
part("first evaluation")
for name, (cpu, wall) in parts.items():
    print(f"{name:>17}  {cpu:5.2f} s of CPU  {wall:5.2f} s")
"""


def start(path: Path) -> None:
    """Start a run of a prepared file up to its first evaluation, in a process of its own."""
    subprocess.run([sys.executable, "-c", _START, str(path)], check=True)


def measured(load: object) -> None:
    """Print what a call costs, and the rows and the ids of the data set that it gives."""
    assert callable(load)
    wall, cpu = time.perf_counter(), _cpu_s()
    dataset = load()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{dataset.train.samples_per_pass:,} training rows, "
        f"{sum(dataset.schema.cardinalities):,} ids: "
        f"{_cpu_s() - cpu:.1f} s of CPU, {time.perf_counter() - wall:.1f} s, {peak:.2f} GiB at most"
    )


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("do", choices=["generate", "prepare", "start"])
    parser.add_argument("path", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--options", type=json.loads, default=None)
    given = parser.parse_args()
    if given.do == "generate":
        generate(given.path, given.rows, given.seed)
    elif given.do == "start":
        start(given.path)
    else:
        columns = {
            "label": "label", "header": False, "columns": list(NAMES),
            "categorical": list(NAMES[1 + COUNTS :]), "numeric": list(NAMES[1 : 1 + COUNTS]),
        }  # fmt: skip
        prepare(given.path, given.options or columns)


if __name__ == "__main__":
    main()
