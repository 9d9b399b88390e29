"""The tables about samples over batch."""

from __future__ import annotations

import math
import shutil
import statistics
import sys

from bsscale.critical_batch import Scaling
from bsscale.critical_batch.cost import Cost, costs
from bsscale.report.closing import WIDTH
from bsscale.report.scaling.contents import ScalingContents
from bsscale.report.scaling.words import MORE, amount, duration, interval
from bsscale.report.tables import Table
from bsscale.terminal.tables import render_table

__all__ = [
    "arm_costs",
    "batches_table",
    "closing_text",
    "costs_table",
    "fits_table",
    "predictions_table",
]


def batches_table(contents: ScalingContents) -> Table:
    """What each batch has cost, beside the fit."""
    several, gpu = len(contents.arms) > 1, contents.batch_of_gpu
    header = [*(["arm"] if several else []), *(["GPUs"] if gpu else []), "batch", "reached"]
    header += ["median samples", "fit", "band"]
    rows = []
    for name, found in contents.arms.items():
        for batch in sorted({point.batch for point in found.points}):
            runs = [point.samples for point in found.points if point.batch == batch]
            median = statistics.median(math.inf if run is None else run for run in runs)
            row = [*([name] if several else []), *([f"{batch / gpu:g}"] if gpu else [])]
            row += [amount(batch), f"{sum(run is not None for run in runs)}/{len(runs)}"]
            row += ["missed" if math.isinf(median) else amount(median)]
            if found.fit is None:
                row += ["-", "-"]
            else:
                low, high = found.fit.band([batch])
                row += [amount(float(found.fit.curve.samples(batch)))]
                row += [interval((float(low[0]), float(high[0])))]
            rows.append(row)
    return Table("Samples to the target by batch", header, rows)


def fits_table(contents: ScalingContents) -> Table:
    """What was fitted to each arm, also where it does not identify the critical batch."""
    header = ["arm", "identified", "critical batch", "95%", "least samples", "95%", "exponent"]
    header += [f"{more:.0%} more at" for more in MORE]
    header += ["noise of seeds", "noise of batches"]
    rows = []
    for name, found in contents.arms.items():
        made = found.fit
        if made is None:
            rows.append([name, "no", *["-"] * (len(header) - 2)])
            continue
        # (a batch to plan with is given only where the runs identify it)
        batches = [made.curve.batch_at(more) if found.identified else None for more in MORE]
        rows.append(
            [
                name,
                "yes" if found.identified else "no",
                amount(made.curve.critical_batch),
                interval(made.interval),
                amount(made.curve.min_samples),
                interval(made.min_samples_interval),
                "-" if found.exponent is None else f"{found.exponent.value:.2f}",
                *(_in_gpus(each, contents.batch_of_gpu) for each in batches),
                f"{made.noise.sigma:.1%}",
                f"{made.noise.between:.1%}",
            ]
        )
    return Table("The fit of each arm", header, rows)


def _in_gpus(batch: float | None, of_gpu: int | None) -> str:
    if batch is None:
        return "-"
    return amount(batch) + (f" ({batch / of_gpu:.1f} GPUs)" if of_gpu else "")


def predictions_table(contents: ScalingContents) -> Table | None:
    """What smaller batches have predicted, and what came of it; None where nothing was."""
    gpu = contents.batch_of_gpu
    header = ["arm", "batch", *(["GPUs"] if gpu else []), "predicted", "95%", "measured", "covered"]
    rows = [
        [
            name,
            amount(each.batch),
            *([f"{each.batch / gpu:g}"] if gpu else []),
            amount(each.predicted),
            interval((each.low, each.high)),
            "missed" if math.isinf(each.measured) else amount(each.measured),
            "yes" if each.covered else "no",
        ]
        for name, scored in contents.predictions.items()
        for each in scored
    ]
    return Table("Larger batches, predicted from smaller ones", header, rows) if rows else None


def arm_costs(contents: ScalingContents) -> dict[str, list[Cost]]:
    """What each number of GPUs costs, by arm; empty where no throughput is known.

    Samples are those of the fitted curve where it is identified, else the median of the runs; at
    no number of GPUs outside the trained ones, because nothing is known there.
    """
    gpu, speed = contents.batch_of_gpu, contents.samples_per_s
    if gpu is None or speed is None:
        return {}
    made = {}
    for name, found in contents.arms.items():
        if found.identified and found.fit is not None:
            low, high = found.fit.data.batch[0], found.fit.data.batch[-1]
            samples = {
                gpus: float(found.fit.curve.samples(gpus * gpu))
                for gpus in speed
                if low <= gpus * gpu <= high
            }
        else:
            samples = _medians(found, gpu)
        made[name] = costs(samples, speed)
    return made


def _medians(found: Scaling, gpu: int) -> dict[int, float]:
    runs: dict[int, list[float]] = {}
    for point in found.points:
        value = math.inf if point.samples is None else point.samples
        runs.setdefault(round(point.batch / gpu), []).append(value)
    return {gpus: statistics.median(values) for gpus, values in runs.items()}


def costs_table(contents: ScalingContents) -> Table | None:
    """Time and GPU-hours to the target; None where no throughput is known."""
    rows = [
        [
            name, str(each.gpus), amount(each.samples), duration(each.time_s),
            amount(each.gpu_hours), "yes" if each.worth_it else "no",
        ]
        for name, found in arm_costs(contents).items()
        for each in found
    ]  # fmt: skip
    header = ("arm", "GPUs", "samples", "time", "GPU-hours", "on the Pareto front")
    return Table("Time and cost to the target", header, rows) if rows else None


def closing_text(contents: ScalingContents) -> str:
    """The table of batches for a terminal, at most 80 columns wide."""
    table = batches_table(contents)
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH
    return render_table("", table.header, table.rows, min(columns, WIDTH))
