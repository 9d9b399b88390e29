"""How long training takes on one core of a CPU, predicted from counts.

A shipped model has D numbers outside of its embedding tables, and reads L numbers of embeddings for
each sample. Its optimizer keeps S states, and updates U numbers of tables that no batch need have
touched: all of them, or none if only touched rows are updated. An update of b samples takes about

    UPDATE_S + b (SAMPLE_S + D MULTIPLIED_S + L GATHERED_S) + U ((2 + S) WRITTEN_S + R ROOT_S)

seconds of one core, where R is 1 for an optimizer that divides by a root, else 0. The constants
were fitted on one core of an AMD EPYC. `tests/benchmarks/speed_rule.py` compares the rule with
measured times: on a Xeon with AVX-512, it gives between .65 (Adam, a million ids) and 1.7 of them
for MLP, DLRM and DeepFM, up to 2.0 for DCNV2, whose time is that of matrix products, and 2.4 for
logistic regression; constants fitted on the Xeon give .57 to 1.35. It is a rule to tell minutes
from hours, and one form of the update from another, not a promise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bsscale.optimizers import OptimizerConfig

if TYPE_CHECKING:
    from bsscale.planning.memory import Counts

__all__ = ["Speed", "describe_speed", "predict_speed", "update_s"]

UPDATE_S = 3.5e-4
SAMPLE_S = 1.6e-6
MULTIPLIED_S = 1.2e-10
GATHERED_S = 8e-9
WRITTEN_S = 2.8e-10
ROOT_S = 3.5e-9
# From this ratio on, a plan recommends the faster form.
MUCH_FASTER = 2.0


@dataclass(frozen=True)
class Speed:
    """Predicted times of one core.

    Attributes
    ----------
    update_s
        Seconds of an update of one run.
    sparse_update_s
        The same with ``optimizer.sparse=true``, where that would be another form; else None.
    """

    update_s: float
    sparse_update_s: float | None

    @property
    def gain(self) -> float:
        """How many times as fast ``optimizer.sparse=true`` is; 1 if it is no other form."""
        return 1.0 if self.sparse_update_s is None else self.update_s / self.sparse_update_s


def update_s(
    counts: Counts, batch: int, optimizer: OptimizerConfig, touched_rows_only: bool
) -> float:
    """Seconds of one core for an update.

    Parameters
    ----------
    counts
        Of the model.
    batch
        Samples of the update.
    optimizer
        Its options.
    touched_rows_only
        Whether only rows of tables that the batch has are updated.
    """
    dense = counts.parameters - counts.table_parameters
    sample_s = SAMPLE_S + dense * MULTIPLIED_S + counts.gathered * GATHERED_S
    updated = 0 if touched_rows_only else counts.table_parameters
    number_s = (2 + len(optimizer.states)) * WRITTEN_S
    if optimizer.second_moment is not None:
        number_s += ROOT_S
    return UPDATE_S + batch * sample_s + updated * number_s


def predict_speed(counts: Counts, optimizer: OptimizerConfig, batch: int) -> Speed | None:
    """The times of a run whose step has written-out layers; None for a model without tables.

    Parameters
    ----------
    counts
        Of the model.
    optimizer
        Its options.
    batch
        Samples of an update.
    """
    if not counts.table_parameters:
        return None
    lazy = optimizer.updates_touched_rows_only(counts.table_rows)
    could_be = not lazy and optimizer.elementwise
    return Speed(
        update_s(counts, batch, optimizer, lazy),
        update_s(counts, batch, optimizer, True) if could_be else None,
    )


def describe_speed(speed: Speed, batch: int, samples_per_pass: int) -> str:
    """The prediction, for a person."""
    pass_s = speed.update_s * samples_per_pass / batch
    text = (
        f"about {_seconds(pass_s)} a pass of {samples_per_pass:,} samples on one core, evaluations "
        "apart (a rule from counts; another processor may take half or twice as long)"
    )
    if speed.gain < MUCH_FASTER:
        return text
    faster = speed.gain
    return (
        f"{text}; optimizer.sparse=true about {_seconds(pass_s / faster)}, {faster:.3g} times as "
        "fast: it updates only the rows of tables that a batch has; momentum and weight decay of a "
        "row stand still in between, so that results differ from those of torch.optim"
    )


def _seconds(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} s"
    if seconds < 6000:
        return f"{seconds / 60:.2g} min"
    return f"{seconds / 3600:.2g} hours"
