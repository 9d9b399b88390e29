"""TensorBoard's event files, read by the package tensorboard (an extra)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bsscale.bridge.curves.places import place_of
from bsscale.bridge.curves.rows import OneRun, Rows
from bsscale.bridge.curves.wanted import Wanted
from bsscale.errors import ConfigError, RecordsError

__all__ = ["read_tensorboard"]


def read_tensorboard(path: Path, wanted: Wanted) -> Rows:
    """The scalars of a run, a row for each step at which one was written.

    As TensorBoard itself does, it leaves out what a restart wrote again, and of several values of a
    step it takes the last.

    Parameters
    ----------
    path
        The folder of the run, or one event file.
    wanted
        What is read.

    Raises
    ------
    ConfigError
        If the package tensorboard is not installed.
    RecordsError
        If it cannot be read.
    """
    try:
        from tensorboard.backend.event_processing import event_accumulator as events
    except ImportError as error:
        raise ConfigError(
            f"{path} has TensorBoard's event files, and the package tensorboard is not installed",
            "pip install 'bsscale[tensorboard]', from a checkout pip install -e '.[tensorboard]'",
        ) from error
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # (it notes each restart)
    everything = {events.SCALARS: 0, events.TENSORS: 0}
    accumulator = events.EventAccumulator(str(path), size_guidance=everything)
    try:
        accumulator.Reload()
    except Exception as error:  # (of its own types, and of protobuf's)
        raise RecordsError(f"cannot read {path}: {error}", "give a whole event file") from error
    scalars = _scalars(accumulator)
    steps = sorted({step for values in scalars.values() for step in values})
    columns: dict[str, Sequence[object]] = {"step": steps} if scalars else {}
    columns |= {tag: [values.get(step) for step in steps] for tag, values in scalars.items()}
    arm, seed = place_of(path if path.is_dir() else path.parent, wanted.layout)
    return Rows(
        path,
        "TensorBoard",
        columns,
        row_word="step",
        run=OneRun(arm, seed),
        samples_remedy="TensorBoard counts steps: say how many samples one is by "
        "task.samples_per_step=N (1 if they are samples already), or write samples as a scalar and "
        "",
    )


def _scalars(accumulator: Any) -> dict[str, dict[int, float]]:
    """From tag to step to value, as torch and Lightning write scalars, and as TensorFlow does."""
    from tensorboard.util import tensor_util

    tags = accumulator.Tags()
    found = {tag: {e.step: e.value for e in accumulator.Scalars(tag)} for tag in tags["scalars"]}
    for tag in tags["tensors"]:
        if accumulator.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
            found[tag] = {
                e.step: float(tensor_util.make_ndarray(e.tensor_proto))
                for e in accumulator.Tensors(tag)
            }
    return found
