from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bsscale.data import ArrayStream, Dataset, Samples, table
from bsscale.errors import BsscaleError, DataError
from bsscale.objectives import Binary

ROWS = 400


@pytest.fixture
def frame() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "click": rng.integers(0, 2, ROWS),
            "city": rng.choice(["Rome", "Oslo", "Lima", None], ROWS).tolist(),
            "member": rng.random(ROWS) < 0.5,
            "price": rng.normal(50.0, 9.0, ROWS),
            "visits": rng.integers(0, 30, ROWS),
            "day": rng.permutation(ROWS),
        }
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def write(frame: pl.DataFrame, name: str = "clicks.parquet") -> str:
        path = tmp_path / name
        if path.suffix in (".parquet", ".pq"):
            frame.write_parquet(path)
        else:
            frame.write_csv(path, separator="," if path.suffix == ".csv" else "\t")
        return str(path)

    return write


def train_samples(dataset: Dataset) -> Samples:
    assert isinstance(dataset.train, ArrayStream)
    return dataset.train.samples


def check_binary(dataset: Dataset) -> None:
    """What a run with the default objective asks of labels."""
    splits = {"train": train_samples(dataset), "validation": dataset.validation}
    for name, samples in {**splits, "test": dataset.test}.items():
        Binary().check_labels(samples.label, f"the {name} split")


def all_arrays(dataset: Dataset) -> list[np.ndarray]:
    splits = (train_samples(dataset), dataset.validation, dataset.test)
    return [a for split in splits for a in (split.categorical, split.numeric, split.label)]


@pytest.mark.parametrize("name", ["a.csv", "A.CSV", "a.tsv", "a.txt", "a.pq"])
def test_formats_agree(name: str, frame: pl.DataFrame, write: Callable[..., str]) -> None:
    if name == "A.CSV":
        path = write(frame, "a.csv")
        Path(path).rename(Path(path).with_name(name))
        path = str(Path(path).with_name(name))
    else:
        path = write(frame, name)
    dataset, reference = table.load(path, "click"), table.load(write(frame), "click")
    assert dataset.schema == reference.schema
    for one, two in zip(all_arrays(dataset), all_arrays(reference), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6)


def test_columns_are_inferred(frame: pl.DataFrame, write: Callable[..., str]) -> None:
    dataset = table.load(write(frame), "click", time_column="day")
    assert dataset.schema.categorical == ("city", "member")
    assert dataset.schema.cardinalities == (4, 3)
    assert dataset.schema.numeric == ("price", "visits")
    assert [len(x) for x in (train_samples(dataset), dataset.validation, dataset.test)] == [
        320,
        40,
        40,
    ]


@pytest.mark.parametrize(
    ("options", "categorical", "numeric"),
    [
        ({"categorical": ["visits"]}, ("visits",), ("price", "day")),
        ({"numeric": ["price"]}, ("city", "member"), ("price",)),
        ({"numeric": ["member", "day"]}, ("city",), ("member", "day")),
        ({"categorical": ["city"], "numeric": []}, ("city",), ()),
        ({"categorical": [], "numeric": ["day"]}, (), ("day",)),
    ],
)
def test_columns_are_named(
    options: dict[str, Any],
    categorical: tuple[str, ...],
    numeric: tuple[str, ...],
    frame: pl.DataFrame,
    write: Callable[..., str],
) -> None:
    dataset = table.load(write(frame), "click", **options)
    assert (dataset.schema.categorical, dataset.schema.numeric) == (categorical, numeric)
    assert dataset.validation.categorical.shape == (40, len(categorical))
    assert dataset.validation.numeric.shape == (40, len(numeric))


def test_enums_and_dates(frame: pl.DataFrame, write: Callable[..., str]) -> None:
    typed = frame.with_columns(
        pl.col("city").cast(pl.Categorical),
        date=pl.date(2020, 1, 1) + pl.duration(days=pl.col("visits")),
    )
    dataset = table.load(write(typed), "click")
    assert dataset.schema.categorical == ("city", "member")
    assert any("(Date)): date" in note for note in dataset.notes)
    plain = table.load(write(frame, "plain.parquet"), "click")
    assert np.array_equal(dataset.test.categorical, plain.test.categorical)
    named = table.load(write(typed), "click", categorical=["date"], numeric=[])
    assert named.schema.cardinalities[0] > 20
    assert named.notes == ()


def timed(frame: pl.DataFrame) -> pl.DataFrame:
    """The last fifth of the rows in time differs from the training rows in every column."""
    late = pl.col("day") >= ROWS * 8 // 10
    return frame.with_columns(
        city=pl.when(late).then(pl.lit("Kyiv")).otherwise("city"),
        price=pl.when(late).then(1e6).otherwise("price"),
    )


def test_fitted_on_the_training_rows_only(frame: pl.DataFrame, write: Callable[..., str]) -> None:
    dataset = table.load(write(timed(frame)), "click", split="time", time_column="day")
    train = train_samples(dataset)
    assert dataset.schema.cardinalities == (4, 3)
    assert (dataset.validation.categorical[:, 0] == 0).all()
    assert (dataset.test.categorical[:, 0] == 0).all()
    assert set(np.unique(train.categorical[:, 0])) == {0, 1, 2, 3}
    np.testing.assert_allclose(train.numeric.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(train.numeric.std(axis=0), 1.0, atol=1e-4)
    price = frame.sort("day")["price"].to_numpy()[: len(train)]
    expected = (1e6 - price.mean()) / price.std()
    np.testing.assert_allclose(dataset.test.numeric[:, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["number", "date", "text", "seconds"])
def test_time_split_sorts_by_time(
    kind: str, frame: pl.DataFrame, write: Callable[..., str]
) -> None:
    date = pl.date(1999, 6, 1) + pl.duration(days=pl.col("day"))
    seconds = pl.datetime(1999, 6, 1) + pl.duration(hours=pl.col("day"))
    when = {
        "number": pl.col("day"),
        "date": date,
        "text": date.cast(pl.String),
        "seconds": seconds.dt.strftime("%Y-%m-%dT%H:%M:%S"),
    }[kind]
    # "rank" is the feature by which the order is seen.
    numbered = frame.select("click", rank=pl.col("day"), when=when)
    dataset = table.load(write(numbered), "click", split="time", time_column="when")
    assert dataset.schema.numeric == ("rank",)
    ranks = [x.numeric[:, 0] for x in (train_samples(dataset), dataset.validation, dataset.test)]
    assert (np.diff(np.concatenate(ranks)) > 0).all()


def test_splits_cover_every_row_once(frame: pl.DataFrame, write: Callable[..., str]) -> None:
    path = write(frame.select("click", "day"))
    seen = {}
    for seed in (0, 1):
        dataset = table.load(path, "click", split_seed=seed)
        days = np.concatenate(
            [x.numeric[:, 0] for x in (train_samples(dataset), dataset.validation, dataset.test)]
        )
        assert len(np.unique(days)) == ROWS
        seen[seed] = dataset.test.numeric[:, 0]
    assert not np.array_equal(seen[0], seen[1])


def test_rare_categories_are_unknown(write: Callable[..., str]) -> None:
    names = ["a"] * 200 + ["b"] * 100 + [f"rare{i}" for i in range(20)] + ["b"] * 80
    frame = pl.DataFrame({"y": [0, 1] * 200, "name": names, "fine": ["x"] * 400, "t": range(400)})
    path = write(frame)
    options: dict[str, Any] = {"split": "time", "time_column": "t"}
    every = table.load(path, "y", **options)
    assert every.schema.cardinalities == (23, 2)
    frequent = table.load(path, "y", min_count=2, **options)
    assert frequent.schema.cardinalities == (3, 2)
    ids = train_samples(frequent).categorical
    assert np.bincount(ids[:, 0]).tolist() == [20, 200, 100]
    assert (ids[:, 1] == 1).all()
    assert (frequent.test.categorical[:, 0] == 2).all()
    assert table.load(path, "y", min_count=1000, **options).schema.cardinalities == (1, 1)
    # 100 b in training, although 180 in all.
    assert table.load(path, "y", min_count=101, **options).schema.cardinalities == (2, 2)


def test_missing_values(frame: pl.DataFrame, write: Callable[..., str], tmp_path: Path) -> None:
    n = np.arange(ROWS)
    price = frame["price"].to_numpy().copy()
    price[n % 8 == 0], price[n % 8 == 1], price[n % 8 == 2] = np.nan, np.inf, -np.inf
    holes = frame.with_columns(price=pl.Series(price), nothing=pl.lit(None, pl.Float64), same=7)
    dataset = table.load(write(holes), "click", numeric=["price", "nothing", "same"])
    train = train_samples(dataset)
    assert np.isfinite(train.numeric).all()
    assert (train.numeric[:, 0] == 0).mean() == pytest.approx(3 / 8, abs=0.05)
    present = train.numeric[:, 0][train.numeric[:, 0] != 0]
    assert present.std() == pytest.approx(1.0, abs=0.01)
    assert (train.numeric[:, 1:] == 0).all()

    text = tmp_path / "holes.csv"
    words = ["", "NA", "null", "NaN", "\\N"]
    rows = [f"{i % 2},{words[i % 5] if i % 2 else i},{words[i % 5]}\n" for i in range(100)]
    text.write_text("y,x,c\n" + "".join(rows))
    dataset = table.load(str(text), "y", categorical=["c"], numeric=["x"])
    assert dataset.schema.cardinalities == (1,)
    assert (train_samples(dataset).categorical == 0).all()
    assert (dataset.test.numeric[dataset.test.label == 1] == 0).all()


def test_numbers_as_categories(frame: pl.DataFrame, write: Callable[..., str]) -> None:
    floats = frame.with_columns(
        code=pl.when(pl.col("day") < 200).then(0.5).when(pl.col("day") < 390).then(float("nan"))
    )
    dataset = table.load(write(floats), "click", categorical=["code"], numeric=[])
    assert dataset.schema.cardinalities == (2,)
    assert (train_samples(dataset).categorical == 0).mean() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("name", ["far.parquet", "far.csv"])
def test_numbers_out_of_all_bounds(
    name: str, frame: pl.DataFrame, write: Callable[..., str]
) -> None:
    far = frame.with_columns(price=pl.when(pl.col("day") == 390).then(1e308).otherwise("price"))
    row = int(far["price"].arg_max()) + 1  # type: ignore[arg-type]
    with pytest.raises(DataError, match=f"'price' has '?1e\\+?308'? in row {row}"):
        table.load(write(far, name), "click")
    # So far from the training rows that float32 cannot hold it.
    near = frame.with_columns(
        price=pl.when(pl.col("day") == 390).then(1e29).otherwise(pl.col("price") * 1e-12)
    )
    with pytest.raises(DataError, match=r"'price' has 1e\+29, too far"):
        table.load(write(near, name), "click", split="time", time_column="day")


@pytest.mark.parametrize(
    "label",
    [
        pl.col("click") == 1,
        pl.col("click").cast(pl.Float64),
        pl.col("click").cast(pl.String),
        pl.when(pl.col("click") == 1).then(pl.lit("True")).otherwise(pl.lit("False")),
        pl.col("click").cast(pl.Decimal(10, 2)),
    ],
)
def test_label_types(label: pl.Expr, frame: pl.DataFrame, write: Callable[..., str]) -> None:
    reference = table.load(write(frame), "click").validation.label
    path = write(frame.with_columns(click=label), "labels.parquet")
    assert np.array_equal(table.load(path, "click").validation.label, reference)


def test_rows_without_a_label_or_time_are_left_out_and_counted(
    frame: pl.DataFrame, write: Callable[..., str]
) -> None:
    holes = frame.with_columns(
        click=pl.when(pl.col("day") >= 30).then("click"),
        day=pl.when(pl.col("day") < 390).then("day"),
    )
    dataset = table.load(write(holes), "click", split="time", time_column="day")
    assert sum(map(len, (train_samples(dataset), dataset.validation, dataset.test))) == 360
    assert any("30 of 400 rows have no label 'click'" in note for note in dataset.notes)
    assert any("10 of 370 rows have no time 'day'" in note for note in dataset.notes)


def test_relative_and_home_paths(
    frame: pl.DataFrame, write: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(write(frame))
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("HOME", str(path.parent))
    for written in (path.name, f"./{path.name}", f"~/{path.name}"):
        assert len(table.load(written, "click").test) == 40


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"label": "clik"}, ["no column 'clik'", "'click'"]),
        ({"label": "CLICK"}, ["no column 'CLICK'", "'click'"]),
        ({"label": "zzzzzz"}, ["its columns are: click, city, member, price, visits, day"]),
        ({"categorical": ["town"]}, ["no column 'town'"]),
        ({"numeric": ["prize"]}, ["no column 'prize'", "'price'"]),
        ({"time_column": "dy"}, ["no column 'dy'", "'day'"]),
        ({"label": "visits"}, ["occurs in the train split", "objective=regression"]),
        ({"label": "city"}, ["'city' is text", "3 values: 'Lima', 'Oslo', 'Rome'"]),
        ({"label": "price"}, ["occurs in the train split", "objective=regression"]),
        ({"numeric": ["city"]}, ["'city' is not numeric", "categorical"]),
        ({"categorical": ["click"]}, ["'click' is the label"]),
        ({"numeric": ["day"], "time_column": "day"}, ["'day' is the time_column"]),
        ({"categorical": ["day"], "numeric": ["day"]}, ["'day' is named 2 times"]),
        ({"categorical": "city"}, ["categorical is 'city'", "categorical=[city]"]),
        ({"categorical": [], "numeric": []}, ["no feature column"]),
        ({"split": "time"}, ["time_column"]),
        ({"split": "time", "time_column": "city"}, ["time column 'city'", "2013-01-31"]),
        ({"split": "last"}, ["'last'", "random", "time"]),
        ({"split_seed": -1}, ["split_seed is -1"]),
        ({"min_count": 0}, ["min_count is 0"]),
    ],
)
def test_bad_options(
    options: dict[str, Any], words: list[str], frame: pl.DataFrame, write: Callable[..., str]
) -> None:
    with pytest.raises(BsscaleError) as caught:
        check_binary(table.load(write(frame), **{"label": "click", **options}))
    for word in words:
        assert word in str(caught.value)
    assert caught.value.remedy


def test_american_dates_are_not_guessed(frame: pl.DataFrame, write: Callable[..., str]) -> None:
    dated = frame.with_columns(day=pl.lit("1/2/2013"))
    with pytest.raises(DataError, match="'1/2/2013'"):
        table.load(write(dated), "click", split="time", time_column="day")


def test_lists_are_no_features(frame: pl.DataFrame, write: Callable[..., str]) -> None:
    path = write(frame.with_columns(tags=pl.concat_list("visits", "day")))
    notes = table.load(path, "click").notes
    assert any("tags" in note and "columns of single values (padded)" in note for note in notes)
    with pytest.raises(DataError, match="'tags' holds List"):
        table.load(path, "click", categorical=["tags"])


HEADER = "y,x\n"
GOOD = HEADER + "0,1\n1,2\n1,1\n" * 50


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.csv", None, ["no file", "missing.csv"]),
        ("a.xlsx", GOOD, ["'.xlsx'", ".csv", ".parquet"]),
        ("noext", GOOD, ["no suffix"]),
        ("a.csv", "", ["is empty"]),
        ("a.csv", HEADER, ["is empty", "no rows"]),
        ("a.csv", HEADER + "0,1\n1,2,3\n", ["line 3", "3 fields", "2 columns"]),
        ("a.csv", b"y,x\n" + b"0,\xff\xfe\n1,a\n" * 20, ["not UTF-8", "0xff", "line 2"]),
        ("a.parquet", GOOD, ["cannot read", "PAR1"]),
        ("a.csv", HEADER + "0,1\n" * 50, ["every label is 0 in the train split"]),
        ("a.csv", HEADER + "1,1\n0,2\n" * 4, ["8 rows", "too few"]),
        ("a.csv", HEADER + ",1\n,2\n" * 40, ["0 rows", "too few"]),
        ("a.csv", HEADER + "0,1\n0,2\n" * 20 + "1,2\n", ["every label is 0", "more rows"]),
        ("a.csv", "y\n" + "0\n1\n" * 40, ["no feature column"]),
        ("a.csv", GOOD.replace("1,", "2,"), ["label 2", "0, 2", "dataset.positive"]),
    ],
)
def test_bad_files(
    name: str, content: str | bytes | None, words: list[str], tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(BsscaleError) as caught:
        check_binary(table.load(str(path), "y"))
    for word in words:
        assert word in str(caught.value)
    assert caught.value.remedy


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="is not a file, and no table is in this folder"):
        table.load(str(tmp_path / "folder.csv"), "y")
