"""The gradient noise scale beside the critical batch: which number is which."""

from __future__ import annotations

import statistics

from bsscale.report.scaling.contents import ScalingContents
from bsscale.report.scaling.words import amount, interval
from bsscale.report.tables import Table

__all__ = ["noise_scale_note", "noise_scales_table"]


def noise_scales_table(contents: ScalingContents) -> Table | None:
    """The median noise scale of the runs at each batch; None if no run has measured it."""
    header = ("arm", "batch", "noise scale", "range over runs", "runs", "critical batch")
    rows = []
    for name, by_batch in contents.noise_scales.items():
        found = contents.arms[name]
        critical = "-"
        if found.identified and found.fit is not None:
            critical = amount(found.fit.curve.critical_batch)
        for batch, values in sorted(by_batch.items()):
            spread = interval((min(values), max(values)))
            median = amount(statistics.median(values))
            rows.append([name, amount(batch), median, spread, str(len(values)), critical])
    title = "Gradient noise scale in samples, beside the critical batch"
    return Table(title, header, rows) if rows else None


def noise_scale_note(contents: ScalingContents) -> list[str]:
    """What the two numbers are, if both are shown."""
    if noise_scales_table(contents) is None:
        return []
    return [
        "The noise scale and the critical batch have the same order and are not the same number: "
        "the noise scale is tr Σ / |G|² of gradients along one run, and the critical batch is the "
        "batch at which runs need twice the samples of a small batch."
    ]
