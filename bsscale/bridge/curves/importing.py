"""From files of curves to runs that a report compares."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bsscale.bridge.curves.curve import Curve, curves_of
from bsscale.bridge.curves.record import ImportedRun, recorded
from bsscale.bridge.curves.sources import Source, source_of
from bsscale.bridge.curves.wanted import Wanted
from bsscale.errors import ConfigError

__all__ = ["import_curves"]


def import_curves(paths: Sequence[Path], wanted: Wanted) -> list[ImportedRun]:
    """The runs of some files of curves, in their order.

    Parameters
    ----------
    paths
        Files, or folders of TensorBoard's event files; their names are never patterns.
    wanted
        The metric, the target, and the names in the files.

    Raises
    ------
    RecordsError
        If a file cannot be read without guessing.
    ConfigError
        If an option does nothing with these files, or a package is missing.
    """
    sources = [source_of(path) for path in paths]
    if wanted.layout is not None and not any(source.one_run for source in sources):
        raise ConfigError(
            f"task.layout={wanted.layout} does nothing: the files are tables, which have the arm "
            "of each row",
            "leave it out, or name the column: task.columns.arm=NAME",
        )

    def read(source: Source) -> list[Curve]:
        return curves_of(source.read(source.path, wanted), wanted)

    # (W&B's runs are read by a process each.)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        curves = [curve for found in pool.map(read, sources) for curve in found]
    longest = max(curve.points[-1].samples for curve in curves)
    return [
        recorded(curve, seed, wanted, longest)
        for curve, seed in zip(curves, _seeds(curves), strict=True)
    ]


def _seeds(curves: Sequence[Curve]) -> list[int]:
    """The seed of each curve; where it is not known, the next number that its arm does not have."""
    taken: dict[str, set[int]] = defaultdict(set)
    for curve in curves:
        if curve.seed is not None:
            taken[curve.arm].add(curve.seed)
    seeds = []
    for curve in curves:
        used = taken[curve.arm]
        seed = curve.seed
        if seed is None:
            seed = next(number for number in range(len(used) + 1) if number not in used)
            used.add(seed)
        seeds.append(seed)
    return seeds
