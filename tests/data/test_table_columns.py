"""Columns of tables: identity of categories, odd values, labels, and what looks wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bsscale.data import ArrayStream, ColumnFacts, Dataset, table
from bsscale.errors import DataError

ROWS = 120
RNG = np.random.default_rng(0)
LABEL = RNG.integers(0, 2, ROWS).tolist()
NOISE = RNG.integers(0, 9, ROWS).tolist()


def load(folder: Path, columns: dict[str, Sequence[Any]], **options: Any) -> Dataset:
    """The table of text with these columns, the label "y" and a harmless feature "x"."""
    columns = {"y": LABEL, "x": NOISE, **columns}
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values()))]  # noqa: B905
    path = folder / "t.csv"
    path.write_text("\n".join(lines) + "\n")
    return table.load(str(path), options.pop("label", "y"), **options)


def load_parquet(folder: Path, columns: dict[str, Any], **options: Any) -> Dataset:
    path = folder / "t.parquet"
    pl.DataFrame({"y": LABEL, "x": NOISE, **columns}).write_parquet(path)
    return table.load(str(path), options.pop("label", "y"), **options)


def facts(dataset: Dataset, name: str = "a") -> ColumnFacts:
    (found,) = [column for column in dataset.columns if column.name == name]
    return found


def cycled(values: Sequence[Any]) -> list[Any]:
    """The values over and over, in an order that has nothing to do with the label."""
    return [values[(5 * i + NOISE[i]) % len(values)] for i in range(ROWS)]


@pytest.mark.parametrize(
    "values",
    [
        ["00012", "12", "0012", "012"],
        ["55e12345", "1e5", "100000", "1e05", "1e400", "1e401"],
        ["1.1", "1.10", "1.2", "1.20", "01.1"],
        [str(2**53 + i) for i in range(4)],
        [str(2**64 + i) for i in range(4)],
        ["170141183460469231731687303715884105728", "170141183460469231731687303715884105729"],
        ["true", "True", "TRUE", "1", "1.0", "01"],
        [" a", "a", "a ", "A"],
        ["-0", "0", "+0", "0.0"],
        ["-nan", "NAN", "inf", "Infinity", "?"],
    ],
)
def test_categories_are_what_is_written(values: list[str], tmp_path: Path) -> None:
    column = cycled(values)
    dataset = load(tmp_path, {"a": column}, categorical=["a"], numeric=[])
    assert dataset.schema.cardinalities == (len(values) + 1,)
    assert isinstance(dataset.train, ArrayStream)
    counts = np.bincount(dataset.train.samples.categorical[:, 0])
    assert counts[0] == 0 and (counts[1:] > 0).all()
    assert facts(dataset).type == "text" and facts(dataset).cardinality == len(values) + 1


def test_numbers_that_are_categories_keep_their_order(tmp_path: Path) -> None:
    """As in a Parquet file of numbers: ids of ordinary tables stay as they were."""
    for values in ([10, 9, -1, 100], [0.5, 10.25, 2.0, -3.5], [1, 2.5, 10]):
        column = cycled(values)
        one = load(tmp_path, {"a": column}, categorical=["a"], numeric=["x"])
        two = load_parquet(tmp_path, {"a": np.array(column)}, categorical=["a"], numeric=["x"])
        assert one.key == two.key


@pytest.mark.parametrize("dtype", [pl.Int64, pl.UInt64, pl.Float64, pl.Decimal(38, 2), pl.String])
def test_parquet_categories_by_their_own_type(dtype: Any, tmp_path: Path) -> None:
    whole = [2**53, 2**53 + 1, 2**53 + 2, 7]
    values = whole if dtype != pl.Float64 else [0.1, 0.1 + 2**-54, 1e300, -0.5]
    series = pl.Series(cycled(values)).cast(dtype)
    dataset = load_parquet(tmp_path, {"a": series}, categorical=["a"], numeric=[])
    assert dataset.schema.cardinalities == (len(set(series)) + 1,)


def test_binary_columns_are_refused_as_features(tmp_path: Path) -> None:
    blob = pl.Series(cycled([b"\xff", b"\xfe"]))
    assert "Binary" in load_parquet(tmp_path, {"a": blob}).notes[0]
    with pytest.raises(DataError, match="'a' holds Binary"):
        load_parquet(tmp_path, {"a": blob}, categorical=["a"])


ODD = ["?", "-", "na", "#N/A", "-nan", "<NA>", " ", "NAN", "n/a", ".", "Infinity", "$5", "5%"]


@pytest.mark.parametrize("odd", [*ODD, '"1,000"'])
def test_one_odd_value_makes_no_column_of_numbers_categorical(odd: str, tmp_path: Path) -> None:
    column = [*map(str, NOISE[1:]), odd]
    bare = odd.strip('"')
    for options in ({}, {"numeric": ["a", "x"]}, {"label": "a"}):
        with pytest.raises(DataError) as caught:
            load(tmp_path, {"a": column}, **options)
        assert f"119 of 120 values are numbers, 1 is not: {bare!r}" in caught.value.fact
        assert "dataset.nulls=" in caught.value.remedy and bare in caught.value.remedy
    nulls = load(tmp_path, {"a": column}, nulls=[bare])
    assert nulls.schema.numeric == ("x", "a")
    assert facts(nulls).missing_share == pytest.approx(1 / 120)
    assert "a" in load(tmp_path, {"a": column}, categorical=["a"]).schema.categorical
    assert load(tmp_path, {"a": column}, drop=["a"]).schema.numeric == ("x",)


def test_all_odd_columns_are_named_with_a_remedy_that_works(tmp_path: Path) -> None:
    odd = [*map(str, NOISE[1:]), "?"]
    columns = {"site": cycled(["a", "b"]), "a": odd, "b": odd}
    with pytest.raises(DataError) as caught:
        load(tmp_path, columns)
    assert "the same is true of: b" in caught.value.fact
    assert "dataset.categorical=[site,a]" in caught.value.remedy
    assert load(tmp_path, columns, nulls=["?"]).schema.numeric == ("x", "a", "b")


@pytest.mark.parametrize("written", ["$5", "5%", "3,14", "1,000", "1.000,5", "5 €"])
def test_numbers_as_people_write_them_are_no_categories(written: str, tmp_path: Path) -> None:
    column = [f'"{written.replace("5", str(n)).replace("4", str(n))}"' for n in NOISE]
    with pytest.raises(DataError, match=r"of 120 values are numbers, \d+ are not"):
        load(tmp_path, {"a": column})


def test_how_text_is_read_is_noted(tmp_path: Path) -> None:
    padded = load(tmp_path, {"a": [f" {n}" for n in NOISE]})
    assert padded.schema.numeric == ("x", "a")
    assert "spaces or a plus" in facts(padded).note and "spaces or a plus" in padded.notes[0]
    assert padded.key == load(tmp_path, {"a": NOISE}).key
    codes = load(tmp_path, {"a": [f"{n:03d}" for n in NOISE]})
    assert codes.schema.categorical == ("a",) and "'00" in facts(codes).note
    as_numbers = load(tmp_path, {"a": [f"{n:03d}" for n in NOISE]}, numeric=["a", "x"])
    assert as_numbers.schema.numeric == ("a", "x")
    half = load(tmp_path, {"a": cycled(["1", "2", "3", "b"])})
    assert half.schema.categorical == ("a",) and "are numbers" in facts(half).note
    unseen = load(tmp_path, {}, nulls=["-99"])
    assert unseen.notes == ("No field is '-99' (dataset.nulls).",)


def test_columns_that_nobody_names_are_noted(tmp_path: Path) -> None:
    columns = {"a": cycled(["u", "v"]), "b": cycled(["01", "02"])}
    dataset = load(tmp_path, columns, categorical=["a"])
    assert dataset.notes == ("Columns left out (not named under categorical): b.",)
    assert facts(dataset, "b").role == "unused"
    assert load(tmp_path, columns, categorical=["a"], numeric=["x"]).notes == ()


def test_nulls_of_parquet_are_compared_as_numbers(tmp_path: Path) -> None:
    columns = {
        "a": pl.Series(cycled([-999, 1, 2]), dtype=pl.Int16),
        "b": pl.Series(cycled([-999.0, 1.5])),
        "c": cycled(["?", "u", "v"]),
    }
    dataset = load_parquet(tmp_path, columns, nulls=[-999, "?"])
    shares = {name: facts(dataset, name).missing_share for name in "abc"}
    assert all(0.2 < share < 0.6 for share in shares.values())
    assert dict(zip(dataset.schema.categorical, dataset.schema.cardinalities, strict=True)) == {
        "c": 3
    }


def other(label: float) -> int:
    return 7 if label else 3


def test_a_copy_of_the_label_is_no_feature(tmp_path: Path) -> None:
    words = ["yes" if value else "no" for value in LABEL]
    for copy in (LABEL, words, [1 - value for value in LABEL], [other(v) for v in LABEL]):
        with pytest.raises(DataError) as caught:
            load(tmp_path, {"a": copy})
        assert "'a' is the label 'y' again" in caught.value.fact
        assert "dataset.drop=[a]" in caught.value.remedy
        with pytest.raises(DataError, match="again"):
            load_parquet(tmp_path, {"a": copy})
    assert facts(load(tmp_path, {"a": words}, categorical=["a"])).note == "the label again"
    holes = [value if i % 3 else "" for i, value in enumerate(LABEL)]
    with pytest.raises(DataError, match="again"):
        load(tmp_path, {"a": holes})
    price = [round(value * 3.7, 3) for value in range(ROWS)]
    with pytest.raises(DataError, match="'a' is the label 'y' again"):
        load(tmp_path, {"y": price, "a": price})
    far = load(tmp_path, {"y": price, "a": [2 * p - 5 for p in price]})
    assert facts(far).note == "proportional to the label"


def test_a_column_that_determines_the_label_is_noted(tmp_path: Path) -> None:
    finer = [2 * value + NOISE[i] % 2 for i, value in enumerate(LABEL)]
    assert facts(load(tmp_path, {"a": finer})).note == "its value determines the label"
    assert facts(load(tmp_path, {"a": cycled([1, 2, 3])})).note == ""


def test_suspicious_columns_are_noted(tmp_path: Path) -> None:
    outlier: list[float] = list(NOISE)
    outlier[7] = 1e20
    columns: dict[str, Sequence[Any]] = {
        "from0": range(ROWS),
        "from1": range(1, ROWS + 1),
        "id": RNG.permutation(ROWS),
        "user": [f"u{i}" for i in range(ROWS)],
        "same": [3] * ROWS,
        "empty": [""] * ROWS,
        "far": outlier,
        "big": [2**60 + n for n in NOISE],
        "hex": cycled(["1e5", "100", "12"]),
        "fine": RNG.normal(size=ROWS).tolist(),
    }
    dataset = load(tmp_path, columns)
    notes = {column.name: column.note for column in dataset.columns if column.note}
    assert notes.keys() == columns.keys() - {"fine"}
    assert notes["from0"] == notes["from1"] == "row number"
    assert notes["id"] == notes["user"] == "every value is different: an id?"
    assert (notes["same"], notes["empty"]) == ("constant", "no values")
    assert notes["far"] == "1e+20 is far from all other values"
    assert "2^53" in notes["big"] and "hexadecimal" in notes["hex"]
    described = {c.name: (c.role, c.type, c.cardinality) for c in dataset.columns}
    assert described["y"] == ("label", "integer", None)
    assert described["user"] == ("categorical", "text", dataset.schema.cardinalities[0])
    assert described["fine"] == ("numeric", "float", None)
    again = table.load(str(tmp_path / "t.csv"), "y")
    assert again.columns == dataset.columns and again.key == dataset.key


@pytest.mark.parametrize("name", ["", "__index_level_0__", "Unnamed: 0"])
def test_the_row_number_of_pandas_is_left_out(name: str, tmp_path: Path) -> None:
    plain = load(tmp_path, {})
    for column in (range(ROWS), RNG.permutation(ROWS).tolist()):
        for dataset in (load(tmp_path, {name: column}), load_parquet(tmp_path, {name: column})):
            assert dataset.schema == plain.schema
            assert facts(dataset, name).role == "unused"
            assert "row number" in dataset.notes[0]
    assert name in load(tmp_path, {name: NOISE}, numeric=[name]).schema.numeric


def test_constant_columns_are_zero_and_small_spreads_are_kept(tmp_path: Path) -> None:
    start = 1.7e18
    spread = [start + 256 * n for n in NOISE]
    dataset = load(tmp_path, {"a": [start] * ROWS, "b": spread, "c": [0.1] * ROWS})
    assert isinstance(dataset.train, ArrayStream)
    values = dataset.train.samples.numeric
    columns = dict(zip(dataset.schema.numeric, values.T, strict=True))
    assert (columns["a"] == 0).all() and (columns["c"] == 0).all()
    np.testing.assert_allclose(columns["b"], columns["x"], rtol=1e-5, atol=1e-6)
    assert facts(dataset).note == "constant"


@pytest.mark.parametrize(
    ("words", "positive"),
    [
        (("no", "yes"), "yes"),
        (("none", "click"), "click"),
        (("1", "2"), 2),
        (("-1", "1"), 1),
        (("1.0", "2.0"), 2),
        (("False", "True"), "True"),
        ((" no", " yes"), " yes"),
    ],
)
def test_positive_says_which_value_is_1(
    words: tuple[str, str], positive: Any, tmp_path: Path
) -> None:
    plain = load(tmp_path, {})
    named = load(tmp_path, {"y": [words[value] for value in LABEL]}, positive=positive)
    assert named.key == plain.key
    assert "The label is 1 where 'y' is" in named.notes[0]


@pytest.mark.parametrize("dtype", [pl.Boolean, pl.Int8, pl.Float32, pl.String, pl.Categorical])
def test_positive_in_parquet(dtype: Any, tmp_path: Path) -> None:
    plain = load(tmp_path, {})
    words = {pl.Boolean: ("false", True), pl.Int8: (5, 7), pl.Float32: (0.5, 1.5)}
    zero, one = words.get(dtype, ("no", "yes"))
    truth = pl.Series(LABEL).cast(pl.Boolean)
    values = [one if value else zero for value in LABEL]
    series = truth if dtype == pl.Boolean else pl.Series(values).cast(dtype)
    assert load_parquet(tmp_path, {"y": series}, positive=one).key == plain.key


def test_labels_above_the_exact_floats(tmp_path: Path) -> None:
    series = pl.Series([2**53 + value for value in LABEL])
    with pytest.raises(DataError, match="2 values: '9007199254740992', '9007199254740993'"):
        load_parquet(tmp_path, {"y": series}, positive="7")
    plain = load(tmp_path, {})
    assert load_parquet(tmp_path, {"y": series}, positive=2**53 + 1).key == plain.key
    merged = load(tmp_path, {"y": cycled([2**24, 2**24 + 1, 5])})
    assert merged.notes == ("3 different labels are 2 as float32.",)


def test_what_parquet_holds_is_noted(tmp_path: Path) -> None:
    columns = {"a": pl.Series(cycled([1.5, float("inf"), 2.5])), "b": cycled(["1", "2", "3"])}
    dataset = load_parquet(tmp_path, columns)
    assert "infinite values count as missing" in facts(dataset).note
    assert facts(dataset, "b").note == "kept as text: 120 of 120 are numbers"
    assert load_parquet(tmp_path, columns, numeric=["b"]).schema.numeric == ("b",)
    words = pl.Series(cycled(["1", "2"]), dtype=pl.Categorical)
    assert load_parquet(tmp_path, {"a": words}, numeric=["a"]).schema.numeric == ("a",)


@pytest.mark.parametrize("option", ["label", "time_column", "categorical", "numeric"])
def test_nested_columns_are_refused(option: str, tmp_path: Path) -> None:
    columns = {"a": pl.Series([[1, 2]] * ROWS)}
    named = ["a"] if option in ("categorical", "numeric") else "a"
    with pytest.raises(DataError, match=r"'a' holds List\(Int64\)"):
        load_parquet(tmp_path, columns, **{option: named})


@pytest.mark.parametrize(
    ("label", "options", "words"),
    [
        (("no", "yes"), {}, ["'y' is text: 2 values: 'no', 'yes'", "dataset.positive=yes"]),
        (("a", "b", "c"), {}, ["3 values: 'a', 'b', 'c'", "dataset.positive"]),
        (("no", "yes"), {"positive": "Yes"}, ["positive is 'Yes'", "'no', 'yes'"]),
        (("no", "yes", "?"), {"positive": "yes"}, ["3 values", "exactly two", "dataset.nulls"]),
        (("1", "2"), {"positive": 3}, ["positive is '3'", "1, 2"]),
        (("1", "2"), {"positive": "x"}, ["positive is 'x'", "1, 2"]),
        (("1", "1e300"), {}, ["1e+300", "float32"]),
    ],
)
def test_labels_that_are_not_clear(
    label: tuple[str, ...], options: dict[str, Any], words: list[str], tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path, {"y": cycled(label)}, **options)
    for word in words:
        assert word in str(caught.value)


def test_numeric_labels_stay_as_they_are(tmp_path: Path) -> None:
    label = [round(n * 1.25, 2) for n in cycled([0, 1, 2, 3, 4])]
    dataset = load(tmp_path, {"y": label})
    assert isinstance(dataset.train, ArrayStream)
    assert set(dataset.train.samples.label) == {0.0, 1.25, 2.5, 3.75, 5.0}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"drop": ["z"]}, ["no column 'z'"]),
        ({"drop": ["y"]}, ["'y' is the label"]),
        ({"drop": ["x"], "numeric": ["x"]}, ["'x' is named as a feature and under drop"]),
        ({"drop": ["x"]}, ["no feature column"]),
        ({"time_column": "y"}, ["'y' is the label and the time_column"]),
    ],
)
def test_drop(options: dict[str, Any], words: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path, {}, **options)
    for word in words:
        assert word in str(caught.value)
