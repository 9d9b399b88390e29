from __future__ import annotations

import errno
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from bsscale.data import ArrayStream, Dataset, table
from bsscale.data import cache as cache_module
from tests.helpers import Bomb, damaged


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "clicks.csv"
    rows = [f"{rng.integers(2)},{rng.integers(9)},c{rng.integers(5)}\n" for _ in range(80)]
    path.write_text("click,price,city\n" + "\n,3,c1\n" + "".join(rows))
    return path


def load(source: Path) -> Dataset:
    return table.load(str(source), "click")


def kept(dataset: Dataset) -> Dataset:
    """A copy that stays as it is, whatever becomes of the file whose pages its arrays are."""
    copied = pickle.loads(pickle.dumps(dataset))
    assert isinstance(copied, Dataset)
    return copied


def only_file(cache: Path) -> Path:
    (path,) = cache.glob("*.safetensors")
    return path


def assert_equal(one: Dataset, two: Dataset) -> None:
    assert isinstance(one.train, ArrayStream)
    assert isinstance(two.train, ArrayStream)
    assert (one.schema, one.notes) == (two.schema, two.notes)
    pairs = [
        (one.train.samples, two.train.samples),
        (one.validation, two.validation),
        (one.test, two.test),
    ]
    for a, b in pairs:
        for name in ("categorical", "numeric", "label"):
            assert getattr(a, name).dtype == getattr(b, name).dtype
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def forbid_preparing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("prepared again")

    monkeypatch.setattr(table.source.Source, "read", refuse)


def test_the_second_start_reads_the_cache(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = load(source)
    assert first.notes
    assert [path.suffix for path in cache.glob("*.tmp")] == []
    forbid_preparing(monkeypatch)
    assert_equal(load(source), first)
    assert warnings_of(caplog) == []


def test_keyed_by_content_and_parameters(source: Path, cache: Path, tmp_path: Path) -> None:
    load(source)
    moved = source.rename(tmp_path / "moved.csv")
    load(moved)
    assert len(list(cache.glob("*.safetensors"))) == 1
    table.load(str(moved), "click", split_seed=1)
    assert len(list(cache.glob("*.safetensors"))) == 2
    moved.write_text(moved.read_text().replace("c1", "c7", 1))
    load(moved)
    assert len(list(cache.glob("*.safetensors"))) == 3


def test_a_new_preparation_version_prepares_anew(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(source)
    monkeypatch.setattr(cache_module, "PREPARATION_VERSION", 10**6)
    load(source)
    assert len(list(cache.glob("*.safetensors"))) == 2


def rewrite(
    path: Path,
    *,
    change: Callable[[dict[str, np.ndarray]], object] | None = None,
    keep_metadata: bool = True,
) -> None:
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata() if keep_metadata else None
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if change is not None:
        change(arrays)
    safetensors.numpy.save_file(arrays, path, metadata)


def flip(path: Path, position: int, bit: int = 3) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "flip in the first byte": lambda path: flip(path, 0),
    "flip in the header": lambda path: flip(path, 60),
    "flip in the data": lambda path: flip(path, path.stat().st_size - 100),
    "flip in the last byte": lambda path: flip(path, -1),
    "garbage": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
    "text": lambda path: path.write_text("hello\n"),
    "pickle": lambda path: path.write_bytes(pickle.dumps(Bomb(path.parent / "exploded"))),
    "wrong type": lambda path: rewrite(
        path, change=lambda a: a.update({"test.numeric": a["test.numeric"].astype(np.float64)})
    ),
    "same bytes of another type": lambda path: rewrite(
        path, change=lambda a: a.update({"test.label": a["test.label"].view(np.int32)})
    ),
    "wrong shape": lambda path: rewrite(
        path, change=lambda a: a.update({"train.categorical": a["train.categorical"].T.copy()})
    ),
    "fewer rows": lambda path: rewrite(
        path, change=lambda a: a.update({n: v[:-1] for n, v in a.items() if "test" in n})
    ),
    "two arrays swapped": lambda path: rewrite(
        path,
        change=lambda a: a.update(
            {"test.label": a["validation.label"], "validation.label": a["test.label"]}
        ),
    ),
    "an array missing": lambda path: rewrite(path, change=lambda a: a.pop("train.label")),
    "an array too many": lambda path: rewrite(path, change=lambda a: a.update(x=np.zeros(3))),
    "no metadata": lambda path: rewrite(path, keep_metadata=False),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_found_and_repaired_with_one_warning(
    damage: Callable[[Path], object],
    source: Path,
    cache: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = kept(load(source))
    path = only_file(cache)
    damage(path)
    assert_equal(load(source), first)
    assert len(warnings_of(caplog)) == 1
    assert str(path) in warnings_of(caplog)[0]
    assert not (cache / "exploded").exists()

    caplog.clear()
    forbid_preparing(monkeypatch)
    assert_equal(load(source), first)
    assert warnings_of(caplog) == []


def test_another_data_set_under_this_name(
    source: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = kept(load(source))
    path = only_file(cache)
    content = path.read_bytes()
    other = kept(table.load(str(source), "click", split_seed=1))
    (other_path,) = set(cache.glob("*.safetensors")) - {path}
    other_path.write_bytes(content)
    assert_equal(table.load(str(source), "click", split_seed=1), other)
    assert len(warnings_of(caplog)) == 1
    assert_equal(load(source), first)


def test_no_single_bit_goes_unnoticed(source: Path, cache: Path) -> None:
    first = kept(load(source))
    path = only_file(cache)
    good = path.read_bytes()
    for position in range(0, len(good), max(1, len(good) // 200)):
        flip(path, position, bit=position % 8)
        # Repaired or (in the padding of the header) harmless, but never other data.
        assert_equal(load(source), first)
        path.write_bytes(good)


def test_a_cache_that_cannot_be_written(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = load(source)
    # A folder below a file cannot be made, not even by root.
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BSSCALE_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert_equal(load(source), first)
    assert len(warnings_of(caplog)) == 1
    assert "No cache" in warnings_of(caplog)[0]


def test_a_full_disk(
    source: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    dataset = load(source)
    assert len(warnings_of(caplog)) == 1
    assert "No space left" in warnings_of(caplog)[0]
    assert {path.suffix for path in cache.iterdir()} == {".lock"}
    monkeypatch.undo()
    monkeypatch.setenv("BSSCALE_CACHE_DIR", str(cache))
    assert_equal(load(source), dataset)


def test_a_failed_preparation_leaves_no_lock(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        forbid_preparing(patch)
        with pytest.raises(AssertionError, match="prepared again"):
            load(source)
    assert len(load(source).test)


def test_what_a_killed_preparation_was_writing_is_removed_by_the_next(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(source)
    path = only_file(cache)
    left, of_another = (cache / f".{name}.part" for name in (path.name, "other.safetensors"))
    path.unlink()
    left.write_bytes(b"half")
    of_another.write_bytes(b"half")  # (its own lock tells whether it is still being written)
    with monkeypatch.context() as patch:
        forbid_preparing(patch)
        with pytest.raises(AssertionError):
            load(source)
    assert not left.exists() and of_another.exists()


def test_the_users_cache_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BSSCALE_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert cache_module.cache_directory() == tmp_path / "bsscale"
    monkeypatch.setenv("BSSCALE_CACHE_DIR", "~/somewhere")
    assert cache_module.cache_directory() == Path.home() / "somewhere"


PROCESSES = 4

# Each process marks that it has started; whoever prepares does so only when all have, so that
# without a lock all of them would.
WORKER = """
import sys, time
from pathlib import Path
import numpy as np
from bsscale.data import Dataset, Samples, Schema
from bsscale.data.cache import cached

folder, number, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
arrays = Samples(
    np.ones((20_000, 3), np.int32), np.ones((20_000, 5), np.float32), np.ones(20_000, np.float32)
)

def prepare():
    end = time.monotonic() + 30
    while len(list(folder.glob("started-*"))) < count:
        assert time.monotonic() < end
    (folder / f"prepared-{number}").touch()
    return Dataset.from_arrays(Schema(tuple("abc"), (2, 2, 2), tuple("vwxyz")), *[arrays] * 3)

(folder / f"started-{number}").touch()
dataset = cached("shared", "0" * 32, prepare)
print(dataset.validation.numeric.sum(), len(dataset.train.samples))
"""


def test_of_many_processes_one_prepares(tmp_path: Path, cache: Path) -> None:
    path = os.pathsep.join([str(Path(table.__file__).parents[3]), *filter(None, sys.path)])
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), str(number), str(PROCESSES)],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    finished = [process.communicate(timeout=60) for process in running]
    assert [out.strip() for out, _ in finished] == ["100000.0 20000"] * PROCESSES
    assert [err for _, err in finished] == [""] * PROCESSES
    assert len(list(tmp_path.glob("prepared-*"))) == 1
    assert len(list(cache.glob("*.safetensors"))) == 1


def test_no_corruption_is_executed_or_goes_unnoticed(
    source: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = kept(load(source))
    path = only_file(cache)
    content = path.read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(100):
        caplog.clear()
        damage = damaged(content, rng, Bomb(cache / "exploded"))
        if damage == content:
            continue
        path.write_bytes(damage)
        assert_equal(load(source), first)
        assert len(warnings_of(caplog)) == 1
    assert not (cache / "exploded").exists()
