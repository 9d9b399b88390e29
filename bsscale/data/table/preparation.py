"""From the columns of a table to the arrays of a data set, one column after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from bsscale.data.dataset import ColumnFacts, Schema
from bsscale.data.encode import Rows, encode_categories
from bsscale.data.prepared import ColumnFiles, Prepared
from bsscale.data.standardize import Numbers, standardize_columns
from bsscale.data.table.column import Column, has_value, with_missing
from bsscale.data.table.columns import describe, describe_feature, refuse_copies
from bsscale.data.table.gaps import missing_files_note
from bsscale.data.table.hashing import hashed_ids
from bsscale.data.table.labels import as_label
from bsscale.data.table.relations import Label, relation
from bsscale.data.table.roles import Asked, Roles, check_named, choose_roles
from bsscale.data.table.source import Source
from bsscale.data.table.splits import by_files, by_fractions, by_group, by_time
from bsscale.data.table.values import Text, as_category, as_number
from bsscale.data.table.weights import as_weight, weight_note
from bsscale.terminal.steps import Steps

if TYPE_CHECKING:
    import polars as pl

__all__ = ["TRANSFORMS", "Options", "Preparation"]

# Numeric columns that are standardized together (see `standardize_columns`).
_TOGETHER = 2
_LABEL, _WEIGHT = "label", "weight"

Transform: TypeAlias = "Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]"


def _log1p(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The logarithm of 1 + x; of a negative number, that of 1 − x, negative."""
    return np.copysign(np.log1p(np.abs(values)), values)


TRANSFORMS: dict[str, Transform | None] = {"none": None, "log1p": _log1p}


@dataclass(frozen=True)
class Options:
    """How a table is prepared: what its arrays depend on beside its content; see `load`."""

    positive: str | None
    nulls: tuple[str, ...]
    split: str
    split_seed: int | None
    min_count: int
    boundaries: tuple[str, str] | None = None
    hash_buckets: int | None = None
    numeric_transform: str = "none"

    @property
    def transform(self) -> Transform | None:
        """What numbers go through before they are standardized."""
        return TRANSFORMS[self.numeric_transform]


class Preparation:
    """The preparation of one table.

    Parameters
    ----------
    source
        The file.
    asked
        The columns that the options name.
    options
        How it is prepared.
    scratch
        A folder for columns while they are prepared.
    """

    def __init__(self, source: Source, asked: Asked, options: Options, scratch: Path) -> None:
        self._source, self._asked, self._options = source, asked, options
        self._content = source.read(scratch)
        self._files = ColumnFiles(scratch)
        self._notes: list[str] = [*self._content.notes]
        training = source.files[: source.splits[0] if source.splits else None]
        if (gap := missing_files_note([file.path.name for file in training])) is not None:
            self._notes.append(gap)

    def prepared(self) -> Prepared:
        """The data set; its arrays are read from the scratch folder."""
        roles = self._roles()
        column = self._column(roles.label)
        label, labelling = as_label(column, self._options.positive)
        labels = column.spread(label).to_numpy().astype(np.float32)
        self._notes += [labelling] if labelling else []
        rows = self._rows(roles, labels)
        order = rows.order
        facts, schema = self._features(roles, Label(labels), order, len(rows.train))
        self._files.add(_LABEL, labels[order])
        if roles.weight is not None:
            column = self._column(roles.weight)
            self._files.add(_WEIGHT, as_weight(column, order, len(rows.train)))
            self._notes.append(weight_note(roles.weight))
        edges = np.cumsum([0, len(rows.train), len(rows.validation), len(rows.test)]).tolist()
        arrays = {}
        for split, start, stop in zip(
            ("train", "validation", "test"), edges, edges[1:], strict=False
        ):
            matrix, vector = self._files.matrix, self._files.vector
            arrays[f"{split}.categorical"] = matrix(schema.categorical, np.int32, start, stop)
            arrays[f"{split}.numeric"] = matrix(schema.numeric, np.float32, start, stop)
            arrays[f"{split}.label"] = vector(_LABEL, np.float32, start, stop)
            if roles.weight is not None:
                arrays[f"{split}.weight"] = vector(_WEIGHT, np.float32, start, stop)
        if schema.numeric and self._options.transform is not None:
            self._notes.append(f"Numbers are standardized after {self._options.numeric_transform}.")
        return Prepared(schema, arrays, (*self._notes, *roles.notes), facts)

    def _column(self, name: str) -> Column:
        column = self._content.column(name)
        return with_missing(column, self._options.nulls, self._source.is_text)

    def _roles(self) -> Roles:
        """The roles of the columns, for which the text of all that may be numbers is looked at."""
        import polars as pl

        dtypes, nulls, asked = self._content.dtypes, self._options.nulls, self._asked
        check_named(dtypes, self._source, asked)
        known = {*asked.special, *asked.drop, *(asked.categorical or ())}
        texts, seen = {}, set[str]()
        with self._steps("looking at", len(dtypes)) as steps:
            for name, dtype in dtypes.items():
                if (nulls and not dtype.is_nested()) or (dtype == pl.String and name not in known):
                    column = self._content.column(name)
                    seen |= {null for null in nulls if has_value(column, null)}
                    if dtype == pl.String and name not in known:
                        kept = with_missing(column, nulls, self._source.is_text)
                        texts[name] = Text.of(kept)
                steps.advance(1)
        unseen = [null for null in nulls if null not in seen]
        if unseen:
            self._notes.append(f"No field is {', '.join(map(repr, unseen))} (dataset.nulls).")
        return choose_roles(dtypes, texts, self._source, asked)

    def _rows(self, roles: Roles, labels: npt.NDArray[np.float32]) -> Rows:
        """The rows of each split."""
        options, kept = self._options, ~np.isnan(labels)
        self._left_out(len(kept), int(kept.sum()), "label", roles.label)
        order = np.flatnonzero(kept)
        if self._source.splits is not None:
            return by_files(order, self._content.file_rows, self._source.splits)
        if options.split == "time" and roles.time is not None:
            rows = by_time(self._column(roles.time), kept, options.boundaries)
            self._left_out(len(order), len(rows.order), "time", roles.time)
        elif options.split == "group" and roles.group is not None:
            rows = by_group(self._column(roles.group), kept, options.split_seed or 0)
            self._left_out(len(order), len(rows.order), "group", roles.group)
        else:
            rows = by_fractions(order, options.split, options.split_seed or 0)
        return rows

    def _left_out(self, count: int, kept: int, role: str, name: str) -> None:
        """A note on the rows that are left out because `name` has no value."""
        if missing := count - kept:
            self._notes.append(f"{missing:,} of {count:,} rows have no {role} {name!r}: left out.")

    def _features(
        self, roles: Roles, label: Label, order: npt.NDArray[np.int64], training: int
    ) -> tuple[tuple[ColumnFacts, ...], Schema]:
        """Encode the features into files, and describe all columns."""
        facts: dict[str, ColumnFacts] = {}
        copies: list[str] = []
        waiting: dict[str, Numbers] = {}
        numeric = set(roles.numeric)
        left = len(numeric)
        features = (*roles.categorical, *roles.numeric)
        with self._steps("preparing", len(self._content.dtypes)) as steps:
            for name in features:
                column = self._column(name)
                converted = (
                    as_number(column)
                    if name in numeric
                    else as_category(column, self._source.is_text)
                )
                related = relation(column, converted, label)
                copies += [name] if related == "copy" and name in roles.inferred else []
                cardinality = None
                if name in numeric:
                    waiting[name] = self._numbers(column, converted, order)
                    left -= 1
                    # (the last ones together: none is left alone)
                    if (len(waiting) >= _TOGETHER and left != 1) or not left:
                        self._add_numbers(waiting, training)
                        waiting = {}
                else:
                    ids, cardinality = self._ids(column, converted, order, training)
                    self._files.add(name, ids)
                is_transformed = self._options.transform is not None
                facts[name] = describe_feature(
                    column, converted, related, cardinality, roles, is_transformed
                )
                steps.advance(1)
            refuse_copies(copies, roles.label)
            for name in self._content.dtypes:
                if name not in facts:
                    facts[name] = describe(self._column(name), roles)
                    steps.advance(1)
        cardinalities = tuple(facts[name].cardinality or 0 for name in roles.categorical)
        schema = Schema(roles.categorical, cardinalities, roles.numeric)
        return tuple(facts[name] for name in self._content.dtypes), schema

    def _ids(
        self, column: Column, converted: pl.Series, order: npt.NDArray[np.int64], training: int
    ) -> tuple[npt.NDArray[np.int32], int]:
        """The ids of a column in the order of the splits, and how many there are."""
        if (buckets := self._options.hash_buckets) is not None:
            return hashed_ids(column, buckets)[order], buckets
        codes = _codes(column, converted, order)
        return encode_categories(codes, training, self._options.min_count)

    def _numbers(
        self, column: Column, converted: pl.Series, order: npt.NDArray[np.int64]
    ) -> Numbers:
        """A column in the order of the splits; each distinct value is transformed once."""
        values: npt.NDArray[np.float64] = converted.to_numpy()
        transform = self._options.transform
        if column.codes is None:
            values = values[order]
            return Numbers(values if transform is None else transform(values))
        # (the last value is that of missing ones)
        values = np.append(values if transform is None else transform(values), np.nan)
        return Numbers(values, column.codes[order])

    def _add_numbers(self, columns: dict[str, Numbers], training: int) -> None:
        standard = standardize_columns(list(columns.values()), list(columns), training)
        for name, values in zip(columns, standard, strict=True):
            self._files.add(name, values)

    def _steps(self, what: str, columns: int) -> Steps:
        return Steps(f"{what} {self._source.path.name}", "columns", columns)


def _codes(
    column: Column, converted: pl.Series, order: npt.NDArray[np.int64]
) -> npt.NDArray[np.int32]:
    """The code of each row of `order`, int32; −1 is missing."""
    import polars as pl

    if column.codes is None:
        return converted.cast(pl.Int32).fill_null(-1).to_numpy()[order]
    codes, ordered = converted.to_numpy(), column.codes[order]
    # (in most columns the codes are those of the values, in their order)
    return ordered if (np.diff(codes) > 0).all() else np.append(codes, np.int32(-1)).take(ordered)
