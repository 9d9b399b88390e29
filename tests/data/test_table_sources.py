"""Tables of several files, their splits, Criteo's format, and what is refused of real files."""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bsscale.data import ArrayStream, Dataset, Samples, criteo, table
from bsscale.errors import DataError
from tests.benchmarks import criteo as generator


def write(path: Path, rows: list[str], header: str = "y,site,price,day,user") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def rows(first: int, last: int) -> list[str]:
    """Rows whose day counts up and whose users have several rows each."""
    return [
        f"{(i * 7 // 3) % 2},s{i % 9},{(i * 31) % 17 + 0.5},"
        f"2013-{1 + i // 28:02d}-{1 + i % 28:02d},u{i * 13 % 40}"
        for i in range(first, last)
    ]


FEATURES: dict[str, Any] = {"categorical": ["site"], "numeric": ["price"]}


def load(path: object, **options: Any) -> Dataset:
    return table.load(path, "y", **{**FEATURES, **options})  # type: ignore[arg-type]


def train(dataset: Dataset) -> Samples:
    assert isinstance(dataset.train, ArrayStream)
    return dataset.train.samples


def test_a_folder_a_list_and_a_pattern_are_the_files_one_after_the_other(tmp_path: Path) -> None:
    whole = load(str(write(tmp_path / "whole.csv", rows(0, 300))))
    folder = tmp_path / "parts"
    parts = [
        write(folder / "part-0.csv", rows(0, 90)),
        write(folder / "part-1.csv", rows(90, 91)),
        # (the columns have another order)
        write(
            folder / "part-2.csv",
            [",".join(row.split(",")[::-1]) for row in rows(91, 300)],
            "user,day,price,site,y",
        ),
    ]
    (folder / "_SUCCESS").touch()
    assert load(str(folder)).key == whole.key
    assert load([str(part) for part in parts]).key == whole.key
    (folder / "notes.md").write_text("mine")
    assert load(str(folder), pattern="part-*.csv").key == whole.key
    frames = [pl.read_csv(part, infer_schema_length=None) for part in parts]
    for number, frame in enumerate(frames):
        frame.write_parquet(tmp_path / f"{number}.parquet")
    parquet = load(str(tmp_path), pattern="*.parquet")
    assert parquet.schema == whole.schema
    assert (train(parquet).categorical == train(whole).categorical).all()


def test_data_that_are_split_already_stay_so(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{k}.csv", rows(k * 50, k * 50 + 50)) for k in range(4)]
    dataset = load(
        [str(path) for path in paths[:2]], validation_path=str(paths[2]), test_path=str(paths[3])
    )
    sizes = len(train(dataset)), len(dataset.validation), len(dataset.test)
    assert sizes == (100, 50, 50)
    labels = [float(row[0]) for row in rows(100, 200)]
    assert np.concatenate([dataset.validation.label, dataset.test.label]).tolist() == labels
    # Statistics are those of the training rows.
    assert abs(float(train(dataset).numeric.mean())) < 1e-6
    assert abs(float(dataset.validation.numeric.mean())) > 1e-4


def test_a_time_split_at_two_times(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", rows(0, 300)[::-1])
    options = {"split": "time", "time_column": "day"}
    text = load(str(path), **options, validation_from="2013-10-01", test_from="2013-11-01")
    assert [len(train(text)), len(text.validation), len(text.test)] == [252, 28, 20]
    frame = pl.read_csv(path, try_parse_dates=True).with_columns(
        hour=pl.col("day").dt.ordinal_day()
    )
    frame.write_parquet(tmp_path / "a.parquet")
    dates = load(
        str(tmp_path / "a.parquet"), **options, validation_from="2013-10-01",
        test_from="2013-11-01T00:00:00Z",
    )  # fmt: skip
    numbers = load(
        str(tmp_path / "a.parquet"), split="time", time_column="hour",
        validation_from=274, test_from=305,
    )  # fmt: skip
    assert text.key == dates.key == numbers.key


def test_a_group_is_on_one_side(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [*rows(0, 400), "1,s1,2,2013-01-01,"])
    by_user: dict[str, Any] = {"split": "group", "group_column": "user", "drop": ["day"]}
    dataset = load(str(path), **by_user)
    assert "1 of 401 rows have no group 'user': left out." in dataset.notes
    roles = {column.name: column.role for column in dataset.columns}
    assert roles["user"] == "group"
    sizes = [len(train(dataset)), len(dataset.validation), len(dataset.test)]
    assert sizes == [320, 40, 40]  # (40 users of ten rows)
    other = load(str(path), split_seed=1, **by_user)
    assert other.key != dataset.key
    # Make the user visible: no label of a user is on two sides.
    users = [row.split(",")[-1] for row in rows(0, 400)]
    marked = [
        row.replace("s", f"{user}_s", 1) for user, row in zip(users, rows(0, 400), strict=True)
    ]
    seen = load(str(write(tmp_path / "b.csv", marked)), **by_user)
    assert not seen.validation.categorical.any() and not seen.test.categorical.any()


def test_hashed_ids_need_no_vocabulary(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [*rows(0, 300), "1,,2,2013-01-01,u"])
    dataset = load(str(path), hash_buckets=5, split="time", time_column="day")
    assert dataset.schema.cardinalities == (5,)
    expected = [1 + zlib.crc32(f"s{i % 9}".encode()) % 4 for i in range(240, 300)]
    held_out = np.concatenate([dataset.validation.categorical, dataset.test.categorical])
    assert held_out[-30:, 0].tolist() == expected[-30:]
    assert 0 in train(dataset).categorical
    frame = pl.DataFrame({"y": [0, 1] * 50, "k": [None, 3, 3, 7] * 25, "x": [1.0, 2.0] * 50})
    frame.write_parquet(tmp_path / "a.parquet")
    numbers = table.load(
        str(tmp_path / "a.parquet"), "y", categorical=["k"], numeric=["x"], hash_buckets=100
    )
    ids = {0, *(1 + zlib.crc32(text.encode()) % 99 for text in "37")}
    assert set(np.unique(train(numbers).categorical).tolist()) == ids


def test_log1p_of_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = np.floor(rng.lognormal(2, 2, 2000)) - 2
    lines = [f"{i % 2},{value:.0f},{abs(value):.0f}" for i, value in enumerate(values)]
    path = str(write(tmp_path / "a.csv", lines, "y,signed,count"))
    plain, logs = (table.load(path, "y", numeric_transform=t) for t in ("none", "log1p"))
    transformed = np.sign(values) * np.log1p(np.abs(values))
    order = np.sort(np.random.default_rng(0).permutation(2000)[:1600])
    expected = (transformed - transformed[order].mean()) / transformed[order].std()
    np.testing.assert_allclose(train(logs).numeric[:, 0], expected[order], rtol=1e-5, atol=1e-5)
    notes = {column.name: column.note for column in plain.columns}
    assert "very skewed" in notes["count"] and "numeric_transform=log1p" in notes["count"]
    assert notes["signed"] == "" and all(not column.note for column in logs.columns)
    assert logs.notes == ("Numbers are standardized after log1p.",)


def test_criteos_format(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    generator.generate(path, 400)
    dataset = criteo.load(str(path))
    assert dataset.schema.categorical == criteo.IDS and dataset.schema.numeric == criteo.COUNTS
    assert [column.name for column in dataset.columns] == ["label", *criteo.COUNTS, *criteo.IDS]
    assert any("log1p" in note for note in dataset.notes)
    by_table = table.load(
        str(path), "label", categorical=criteo.IDS, numeric=criteo.COUNTS, header=False,
        columns=generator.NAMES, numeric_transform="log1p",
    )  # fmt: skip
    assert by_table.key == dataset.key
    ordered = criteo.load(str(path), split="time")
    labels = [float(line[0]) for line in path.read_text().splitlines()]
    assert ordered.test.label.tolist() == labels[-40:]


GOOD = rows(0, 100)

# What a file has, the options, the fact and the remedy.
QUIRKS: dict[str, tuple[list[str], dict[str, Any], str, str]] = {
    "a row with too many fields": ([*GOOD, GOOD[0] + ",1"], {}, "line 102 .* 6 fields", "quotes"),
    "a row that is cut off": ([*GOOD, "1,s1"], {}, "line 102 .* has 2 fields", "give every row"),
    "a quote within a field": ([*GOOD, '1,5" pipe,1,2013-01-01,u'], {}, "line 102", "double"),
    "the header again, of files that were joined": (
        [*GOOD, "y,site,price,day,user"], {}, "label 'y' is text|'y' is not numeric", "nulls"
    ),
    "a second label": (
        [f"{row},{row[0]}" for row in GOOD], {"categorical": None, "numeric": None},
        "'converted' is the label 'y' again", r"drop=\[converted\]",
    ),
    "a word among numbers": (
        [*GOOD, "1,s1,unknown,2013-01-01,u1"], {}, "'price' is not numeric: 100 of 101", "nulls"
    ),
    "a time without its days": (
        GOOD, {"split": "time", "time_column": "day", "validation_from": "2013-06-01",
               "test_from": "2013-07-01"},
        "2013-01-01 .*to 2013-04-16.*: the validation split would be empty", "choose others",
    ),
    "a boundary that is no time": (
        GOOD, {"split": "time", "time_column": "day", "validation_from": "June", "test_from": "a"},
        "validation_from is 'June'", "2013-11-01",
    ),
    "one user": (
        [row.rpartition(",")[0] + ",u" for row in GOOD], {"split": "group", "group_column": "user"},
        "'user' has 1 values", "at least 10 groups",
    ),
    "a time of another form": (
        [row.replace("2013-0", "3/") for row in GOOD], {"split": "time", "time_column": "day"},
        "'day' has values such as '3/", "2013-01-31",
    ),
}  # fmt: skip


@pytest.mark.parametrize("quirk", QUIRKS)
def test_a_quirk_of_a_real_file_is_named_with_its_remedy(quirk: str, tmp_path: Path) -> None:
    lines, options, fact, remedy = QUIRKS[quirk]
    header = "y,site,price,day,user" + (",converted" if quirk == "a second label" else "")
    path = write(tmp_path / "a.csv", lines, header)
    with pytest.raises(DataError) as caught:
        load(str(path), **options)
    assert_matches(fact, caught.value.fact)
    assert_matches(remedy, caught.value.remedy)


def assert_matches(pattern: str, text: str) -> None:
    assert re.search(pattern, text), text


def test_an_id_column_is_noted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [f"{row},r{i:05d}" for i, row in enumerate(GOOD)],
                 "y,site,price,day,user,request")  # fmt: skip
    dataset = load(str(path), categorical=["site", "request"])
    [note] = [column.note for column in dataset.columns if column.name == "request"]
    assert note == "every value is different: an id?"


@pytest.mark.parametrize(
    ("path", "options", "fact", "remedy"),
    [
        ("parts", {"pattern": "*.tsv"}, "no file in .* fits '\\*.tsv'", "it has a.csv"),
        ("parts/a.csv", {"pattern": "*.csv"}, "but .*a.csv is a file", "folder of the files"),
        ("mixed", {}, "'notes.md', which is none", r"dataset.pattern='\*.csv'"),
        ("kinds", {}, "b.parquet is Parquet, and other files are text", "one kind"),
        ("other", {}, "b.csv has a column 'cost', which .*a.csv has not", "same columns"),
        ("separators", {}, "stand for different separators", "dataset.separator"),
        ("types", {}, "column 'x' is String in .*b.parquet and Int64 in", "one type"),
        ("nothing", {}, "no table is in this folder", "no files"),
        ("*.csv", {}, "there is no file", "dataset.pattern="),
        ("parts", {"validation_path": "parts"}, "the data of the other split", "or neither"),
        ("parts", {"hash_buckets": 1}, "hash_buckets is 1", "2 to 2,147,483,647"),
        ("parts", {"hash_buckets": 9, "min_count": 2}, "needs a vocabulary", "one of them"),
        ("parts", {"numeric_transform": "log"}, "numeric_transform is 'log'", "none or log1p"),
        ("parts", {"split": "group"}, "no group_column", "group_column=user"),
        ("parts", {"group_column": "user"}, "split=random does not use it", "split=group"),
        ("parts", {"validation_from": 3}, "test_from is not given", "or neither"),
        ("parts", {"validation_from": 3, "test_from": 4}, "split=random", "split=time"),
    ],
)
def test_sources_and_options_that_are_refused(
    path: str, options: dict[str, Any], fact: str, remedy: str, tmp_path: Path
) -> None:
    for folder in ("parts", "mixed", "kinds", "other", "separators"):
        write(tmp_path / folder / "a.csv", GOOD)
    (tmp_path / "mixed" / "notes.md").write_text("mine")
    frame = pl.DataFrame({"y": [0, 1], "x": [1, 2]})
    (tmp_path / "types").mkdir()
    for name, numbers in (("a", frame), ("b", frame.cast({"x": pl.String}))):
        numbers.write_parquet(tmp_path / "types" / f"{name}.parquet")
    frame.write_parquet(tmp_path / "kinds" / "b.parquet")
    write(tmp_path / "other" / "b.csv", GOOD, "y,site,cost,day,user")
    write(tmp_path / "separators" / "b.tsv", GOOD)
    (tmp_path / "nothing").mkdir()
    if "validation_path" in options:
        options = {"validation_path": str(tmp_path / "parts")}
    with pytest.raises(DataError) as caught:
        load(str(tmp_path / path), **options)
    assert_matches(fact, caught.value.fact)
    assert_matches(remedy, caught.value.remedy)
    with pytest.raises(DataError, match=r"names .* twice"):
        load([str(tmp_path / "parts" / "a.csv")] * 2)


def test_lists_are_refused_with_the_way_on(tmp_path: Path) -> None:
    frame = pl.DataFrame({"y": [0, 1] * 20, "items": [[1, 2], [3]] * 20, "x": [1.0, 2.0] * 20})
    frame.write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"'items' holds List") as caught:
        table.load(str(tmp_path / "a.parquet"), "y", categorical=["items"])
    assert "padded" in caught.value.remedy and "TrainStream" in caught.value.remedy


@pytest.mark.parametrize("pattern", [None, "day_*"])
def test_days_of_criteo_are_read_in_the_order_of_their_numbers(
    pattern: str | None, tmp_path: Path, cache: Path
) -> None:
    days = tmp_path / "days"
    days.mkdir()
    names = ["day_0.gz", "day_1", "day_2.gz", "day_10.gz"]
    for number, name in enumerate(names):
        lines = [
            "\t".join([str(row % 2), str(100 * number + row), *["1"] * 12, *["ab"] * 26])
            for row in range(30)
        ]
        text = "\n".join([*lines, ""]).encode()
        (days / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    found = criteo.load(str(days), pattern=pattern, split="time", numeric_transform="none")
    assert isinstance(found.train, ArrayStream)
    parts = (found.train.samples, found.validation, found.test)
    counts = np.concatenate([part.numeric[:, 0] for part in parts])
    assert len(counts) == 120 and (np.diff(counts) > 0).all()


@pytest.mark.parametrize(
    ("names", "note"),
    [
        (["day_0", "day_1", "day_3"], "a file seems to be missing between day_1 and day_3"),
        (["d9.csv", "d10.csv", "d11.csv"], None),
        (["a-2013-02-27", "a-2013-02-28", "a-2013-03-01"], None),
        (
            ["2013-02-26", "2013-02-27", "2013-03-01", "2013-03-02", "2013-03-04"],
            "2 files seem to be missing, the first between 2013-02-27.csv and 2013-03-01.csv",
        ),
        (["20130101", "20130108", "20130115"], None),  # (weeks)
        (["1", "7", "1000"], None),  # (no sequence)
        (["part_1_of_3", "part_3_of_3"], None),  # (too few to tell)
        (["clicks", "more", "others"], None),
    ],
)
def test_a_missing_day_is_noticed(names: list[str], note: str | None, tmp_path: Path) -> None:
    for number, name in enumerate(names):
        file = name if name.endswith(".csv") else f"{name}.csv"
        write(tmp_path / "days" / file, rows(100 * number, 100 * number + 100))
    notes = load(str(tmp_path / "days")).notes
    found = [each for each in notes if "missing" in each]
    if note is None:
        assert found == []
    else:
        [told] = found
        assert told.startswith("By their names, ")
        assert note.replace("day_1", "day_1.csv").replace("day_3", "day_3.csv") in told
