"""An endless click stream whose best possible AUC is known: no data ever repeat."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bsscale.data.dataset import Dataset, Samples, Schema
from bsscale.data.encode import check_integer
from bsscale.errors import DataError
from bsscale.objectives.binary import roc_auc

__all__ = ["ClickStream", "load"]

_Floats = npt.NDArray[np.float64]

# The teacher's size, and the spread of its logit: 1.5 puts its AUC between 0.80 and 0.85.
_FACTORS = 8
_HIDDEN = 16
_LOGIT_STD = 1.5
# Shares of the logit's variance: what fields add alone, in pairs, and through the small MLP.
_SHARES = (0.5, 0.25, 0.25)
_CALIBRATION_SAMPLES = 1 << 16

# Reads are widened to whole blocks and computed block by block: the size of a matrix product
# decides its rounding, so that the same sample could differ in the last bit between two cuts.
_BLOCK = 64

# The first word of every random key: what is drawn.
_TEACHER, _CALIBRATION, _TRAIN, _VALIDATION, _TEST = range(5)


def load(
    categorical_fields: int = 8,
    cardinality: int = 1000,
    numeric_fields: int = 4,
    zipf_exponent: float = 1.1,
    positive_rate: float = 0.2,
    samples_per_pass: int = 400_000,
    validation_samples: int = 40_000,
    test_samples: int = 40_000,
    seed: int = 0,
) -> Dataset:
    r"""A click stream from a teacher that `seed` fixes.

    Categorical fields are independent with :math:`P(\mathrm{id}=k) \propto k^{-z}` for ids
    k = 1 … `cardinality` (0, unknown, does not occur); numeric fields are standard normal. The
    label is drawn from :math:`\sigma(l + b)`, where the logit l adds up a weight for every id and
    number, the dot products of all pairs of the fields' embeddings (a factorization machine), and
    a tanh MLP of one hidden layer over the embeddings and numbers; b is solved for the positive
    rate.

    Parameters
    ----------
    categorical_fields, numeric_fields
        0 to 100 of each, at least one together.
    cardinality
        Ids of each categorical field, 2 to 1,000,000.
    zipf_exponent
        z, 0 (uniform) to 5.
    positive_rate
        Share of labels 1, 0.001 to 0.999.
    samples_per_pass
        What counts as one pass, although nothing repeats; ≥ 1.
    validation_samples, test_samples
        Sizes of the held-out splits, ≥ 100. They are fixed by `seed` and lie on streams of their
        own, which no training stream meets.
    seed
        ≥ 0. Fixes the teacher and the held-out splits; the run's seed picks the training stream.

    Returns
    -------
    Dataset
        Its best_possible is that of the teacher's own logit on the validation split.

    Raises
    ------
    DataError
        A parameter out of its range.
    """
    check_integer("categorical_fields", categorical_fields, 0, 100)
    check_integer("numeric_fields", numeric_fields, 0, 100)
    if not categorical_fields + numeric_fields:
        raise DataError(
            "categorical_fields and numeric_fields are both 0", "give at least one field"
        )
    check_integer("cardinality", cardinality, 2, 1_000_000)
    _check_number("zipf_exponent", zipf_exponent, 0.0, 5.0)
    _check_number("positive_rate", positive_rate, 0.001, 0.999)
    check_integer("samples_per_pass", samples_per_pass, 1)
    check_integer("validation_samples", validation_samples, 100)
    check_integer("test_samples", test_samples, 100)
    check_integer("seed", seed, 0)

    features = _Features(
        categorical_fields, cardinality, numeric_fields, _Zipf.of(cardinality, zipf_exponent)
    )
    teacher = _Teacher.draw(features, positive_rate, seed)
    stream = ClickStream(samples_per_pass, seed, features, teacher)
    validation, logit = stream.draw(_VALIDATION, 0, 0, validation_samples)
    test, _ = stream.draw(_TEST, 0, 0, test_samples)
    for name, split in (("validation_samples", validation), ("test_samples", test)):
        if split.label.min() == split.label.max():
            raise DataError(
                f"{name} is {len(split)}, and all of them have label {split.label[0]:.0f}",
                f"give more {name} or a positive_rate nearer to 0.5",
            )
    schema = Schema(
        categorical=tuple(f"c{field}" for field in range(categorical_fields)),
        cardinalities=(cardinality + 1,) * categorical_fields,
        numeric=tuple(f"n{field}" for field in range(numeric_fields)),
    )
    return Dataset(schema, stream, validation, test, roc_auc(validation.label, logit))


def _check_number(name: str, value: float, low: float, high: float) -> None:
    wrong_type = isinstance(value, bool) or not isinstance(value, int | float)
    if wrong_type or not low <= value <= high:
        raise DataError(f"{name} is {value!r}", f"give a number from {low} to {high}")


@lru_cache(maxsize=256)
def _key(*words: int) -> npt.NDArray[np.uint64]:
    """A Philox key, shape (2,): other words give an independent stream."""
    return np.random.SeedSequence(words).generate_state(2, np.uint64).astype(np.uint64)


@dataclass(frozen=True, eq=False)
class ClickStream:
    """The training stream: random access to samples that never repeat.

    Attributes
    ----------
    samples_per_pass
        What counts as one pass.
    data_seed
        The data set's seed.
    features, teacher
        The distribution of the features, and the model that draws the labels.
    """

    thread_safe: ClassVar[bool] = True

    samples_per_pass: int
    data_seed: int
    features: _Features
    teacher: _Teacher

    def read(self, seed: int, start: int, stop: int) -> Samples:
        """The samples at stream positions start … stop − 1 of the run seed's own stream."""
        samples, _ = self.draw(_TRAIN, seed, start, stop)
        return samples

    def draw(self, purpose: int, seed: int, start: int, stop: int) -> tuple[Samples, _Floats]:
        """Samples of one of the streams, with the logit that drew each label, shape (n,)."""
        first = start // _BLOCK * _BLOCK
        uniform = self.features.uniform(
            _key(purpose, self.data_seed, seed), first, -(-stop // _BLOCK) * _BLOCK
        )
        ids, numbers = self.features.of(uniform)
        logit = self.teacher.logit(ids, numbers)
        # u < sigmoid(l), without an overflow: the logistic quantile of u is below l.
        with np.errstate(divide="ignore"):
            label = np.log(uniform[:, 0]) - np.log1p(-uniform[:, 0]) < logit
        kept = slice(start - first, stop - first)
        return Samples(ids, numbers, label.astype(np.float32))[kept], logit[kept]


@dataclass(frozen=True, eq=False)
class _Zipf:
    """Ids 1 … n with probability proportional to id^-exponent, by Walker's alias method.

    One uniform number and two look-ups for each draw, for any n; a binary search in the cumulative
    distribution takes six times as long at n = 1000.

    References
    ----------
    M. D. Vose, "A linear algorithm for generating random numbers with a given distribution",
    IEEE Transactions on Software Engineering 17, 1991.
    """

    threshold: _Floats
    alias: npt.NDArray[np.int32]

    @classmethod
    def of(cls, cardinality: int, exponent: float) -> _Zipf:
        weight = np.arange(1, cardinality + 1, dtype=np.float64) ** -exponent
        share = (weight * (cardinality / weight.sum())).tolist()
        threshold, alias = [1.0] * cardinality, list(range(cardinality))
        small = [i for i, value in enumerate(share) if value < 1.0]
        large = [i for i, value in enumerate(share) if value >= 1.0]
        while small and large:
            low, high = small.pop(), large[-1]
            threshold[low], alias[low] = share[low], high
            share[high] -= 1.0 - share[low]
            if share[high] < 1.0:
                small.append(large.pop())
        return cls(np.array(threshold), np.array(alias, np.int32))

    def ids(self, uniform: _Floats) -> npt.NDArray[np.int32]:
        """One id for each uniform number in [0, 1), same shape."""
        scaled = uniform * len(self.alias)
        column = scaled.astype(np.int32)
        keep = scaled - column < self.threshold.take(column)
        return np.where(keep, column, self.alias.take(column)) + np.int32(1)


@dataclass(frozen=True, eq=False)
class _Features:
    """The fields of a sample, as a function of uniform numbers."""

    categorical_fields: int
    cardinality: int
    numeric_fields: int
    zipf: _Zipf

    def uniform(self, key: npt.NDArray[np.uint64], start: int, stop: int) -> _Floats:
        """The uniform numbers of samples start … stop − 1, shape (n, numbers a sample).

        One for the label, one a categorical field, two for a pair of normals. Philox is a
        function of its counter, which counts blocks of 4 numbers [1]_: a sample takes whole
        blocks, and the generator starts at any of them at no cost.

        References
        ----------
        .. [1] J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
        """
        pairs = -(-self.numeric_fields // 2)
        blocks = -(-(1 + self.categorical_fields + 2 * pairs) // 4)
        philox = np.random.Philox(key=key, counter=start * blocks)
        return np.random.Generator(philox).random((stop - start, 4 * blocks))

    def of(self, uniform: _Floats) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Ids and numbers; the first uniform number of a sample is left for the label."""
        begin, pairs = 1 + self.categorical_fields, -(-self.numeric_fields // 2)
        ids = self.zipf.ids(uniform[:, 1:begin])
        # Box-Muller: always two uniform numbers for two normal ones, unlike rejection methods.
        radius = np.sqrt(-2.0 * np.log1p(-uniform[:, begin : begin + pairs]))
        angle = 2.0 * np.pi * uniform[:, begin + pairs : begin + 2 * pairs]
        numbers = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return ids, numbers[:, : self.numeric_fields].astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Teacher:
    """The logit as a function of the features.

    Attributes
    ----------
    table
        float32, shape (fields, cardinality, factors + 2): what stands for each id: an embedding,
        half its squared norm, and a weight.
    inner
        Shape (fields x (factors + 2) + numeric fields, hidden + factors + 2): one matrix product
        gives the hidden layer, and the sums over the fields of embeddings, half squared norms and
        weights.
    outer
        Shape (hidden,).
    scale
        Of the three parts of the logit.
    intercept
        Of the logit.
    """

    table: npt.NDArray[np.float32]
    inner: _Floats
    outer: _Floats
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    intercept: float = 0.0

    @classmethod
    def draw(cls, features: _Features, positive_rate: float, seed: int) -> _Teacher:
        """A teacher by `seed`, its parts scaled to their shares of the logit's variance."""
        rng = np.random.Generator(np.random.Philox(key=_key(_TEACHER, seed)))
        fields, numbers, width = features.categorical_fields, features.numeric_fields, _FACTORS + 2
        table = rng.standard_normal((fields, features.cardinality, width), np.float32)
        table[:, :, _FACTORS] = 0.5 * np.square(table[:, :, :_FACTORS]).sum(axis=2)

        inputs = fields * _FACTORS + numbers
        inner = np.zeros((fields * width + numbers, _HIDDEN + width))
        # Into the hidden layer go the embeddings and the numbers ...
        mlp_input = np.arange(len(inner)) % width < _FACTORS
        mlp_input[fields * width :] = True
        inner[mlp_input, :_HIDDEN] = rng.normal(0.0, (2.0 / inputs) ** 0.5, (inputs, _HIDDEN))
        # ... and beside it everything is summed over the fields, the numbers with a weight each.
        inner[: fields * width, _HIDDEN:] = np.tile(np.eye(width), (fields, 1))
        inner[fields * width :, -1] = rng.standard_normal(numbers)
        teacher = cls(table, inner, rng.standard_normal(_HIDDEN))

        key = _key(_CALIBRATION, seed)
        ids, numeric = features.of(features.uniform(key, 0, _CALIBRATION_SAMPLES))
        return teacher._calibrated(ids, numeric, positive_rate)

    def logit(self, ids: npt.NDArray[np.int32], numbers: npt.NDArray[np.float32]) -> _Floats:
        """Log-odds of label 1, shape (n,), for a whole number of blocks."""
        alone, in_pairs, through_mlp = self._parts(ids, numbers)
        a, b, c = self.scale
        return a * alone + b * in_pairs + c * through_mlp + self.intercept

    def _parts(
        self, ids: npt.NDArray[np.int32], numbers: npt.NDArray[np.float32]
    ) -> tuple[_Floats, _Floats, _Floats]:
        """The terms of the logit: single fields, pairs of fields, and the MLP, each (n,)."""
        fields, cardinality, width = self.table.shape
        rows = ids + (np.arange(fields) * cardinality - 1)
        values = self.table.reshape(-1, width).take(rows, axis=0).reshape(len(ids), fields * width)
        inputs = np.concatenate([values, numbers], axis=1, dtype=np.float64)
        product = inputs.reshape(-1, _BLOCK, len(self.inner)) @ self.inner
        hidden, total, half_square, alone = np.split(
            product.reshape(len(ids), self.inner.shape[1]), [_HIDDEN, -2, -1], axis=1
        )
        # The sum over pairs of <v_f, v_g> is (|sum v_f|^2 - sum |v_f|^2) / 2 (Rendle, 2010).
        in_pairs = 0.5 * np.einsum("ij,ij->i", total, total) - half_square[:, 0]
        through_mlp = np.einsum("ij,j->i", np.tanh(hidden), self.outer)
        return alone[:, 0], in_pairs, through_mlp

    def _calibrated(
        self,
        ids: npt.NDArray[np.int32],
        numbers: npt.NDArray[np.float32],
        positive_rate: float,
    ) -> _Teacher:
        """Scales and intercept that give the logit its spread and the labels their rate."""
        parts = self._parts(ids, numbers)
        # Leave out a constant part (there are no pairs with one field): its variance is only
        # rounding error.
        spread = [float(part.std()) for part in parts]
        scale = [
            share**0.5 / std if std > 1e-6 else 0.0
            for share, std in zip(_SHARES, spread, strict=True)
        ]
        logit = np.sum([s * part for s, part in zip(scale, parts, strict=True)], axis=0)
        widen = _LOGIT_STD / float(logit.std())
        logit *= widen

        # Bisection is written here because importing scipy.optimize takes ten times as long as this
        # loop.
        low, high = -100.0, 100.0
        while high - low > 1e-7:
            middle = (low + high) / 2
            rate = float(np.mean(1.0 / (1.0 + np.exp(-logit - middle))))
            low, high = (middle, high) if rate < positive_rate else (low, middle)
        alone, in_pairs, through_mlp = (s * widen for s in scale)
        return replace(self, scale=(alone, in_pairs, through_mlp), intercept=low)
