"""Prepared data sets on disk: each prepared once per machine, checked whenever it is read."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from bsscale.data.checks import check_dataset
from bsscale.data.dataset import ArrayStream, ColumnFacts, Dataset, Samples, Schema
from bsscale.data.hashed_sources import source_digest
from bsscale.data.prepared import SPLITS, Prepared
from bsscale.errors import BsscaleError
from bsscale.files.blocks import write_blocks
from bsscale.files.checked import Arrays, DamagedError, map_checked, unfinished

__all__ = ["PREPARATION_VERSION", "cache_directory", "cached", "cached_arrays", "content_key"]

# Raise it whenever the same source and parameters come to give other arrays.
PREPARATION_VERSION = 2

_FORMAT_VERSION = 4
_SCRATCH = ".scratch"
# Name within a split -> element type and number of dimensions.
_ARRAYS = {"categorical": (np.int32, 2), "numeric": (np.float32, 2), "label": (np.float32, 1)}
_WEIGHT = {"weight": (np.float32, 1)}

_log = logging.getLogger(__name__)


def cache_directory() -> Path:
    """Where prepared data sets lie: $BSSCALE_CACHE_DIR, else the user's cache directory."""
    named = os.environ.get("BSSCALE_CACHE_DIR")
    if named:
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("bsscale")


def content_key(sources: Sequence[Path], parameters: Mapping[str, Any]) -> str:
    """A name for what comes of preparing `sources` with `parameters`: 32 hexadecimal digits.

    It follows the bytes of the sources, not their paths or times, so that an edited file is
    prepared anew and a moved one is not. A large source is read again when its size, times or
    inode have changed (`source_digest`).

    Parameters
    ----------
    sources
        The files that are read, in a fixed order.
    parameters
        Everything else that the arrays depend on, as JSON values.

    Raises
    ------
    OSError
        A source cannot be read.
    """
    digest = hashlib.sha256(
        json.dumps([PREPARATION_VERSION, _FORMAT_VERSION, parameters], sort_keys=True).encode()
    )
    for source in sources:
        digest.update(source_digest(source, cache_directory()))
    return digest.hexdigest()[:32]


def cached(name: str, key: str, prepare: Callable[[], Dataset]) -> Dataset:
    """As `cached_arrays`, for a data set that is prepared in memory.

    Parameters
    ----------
    name, key
        See `cached_arrays`.
    prepare
        Makes the data set; its `train` must be an `ArrayStream`.
    """

    def in_memory(_: Path) -> Prepared:
        dataset = prepare()
        check_dataset(dataset)
        return Prepared.of(dataset)

    return cached_arrays(name, key, in_memory)


def cached_arrays(name: str, key: str, prepare: Callable[[Path], Prepared]) -> Dataset:
    """The data set under `key`: read from the cache, or prepared now and put there.

    Its arrays are pages of the file in the cache, which all processes share.

    Of many processes that ask at once, one prepares and the others wait for it. A file that is
    damaged in any way is prepared again, and where the cache cannot be written the data set is
    prepared for this process alone; each gives one warning in the log.

    Parameters
    ----------
    name
        What the data set is called, the beginning of the file's name.
    key
        From `content_key`.
    prepare
        Makes the data set. It may write into the folder that it is given, which is removed when
        the arrays have been read.
    """
    path = cache_directory() / f"{name}-{key}.safetensors"
    try:
        if dataset := _read(path, key):
            return dataset
    except DamagedError:
        pass  # Reported below, by the one process that repairs it.
    import filelock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path.with_suffix(".lock")).acquire()
    # filelock raises NotImplementedError on file systems that have no locks.
    except (OSError, NotImplementedError) as error:
        _log.warning("No cache for dataset %s: %s", name, error)
        with tempfile.TemporaryDirectory(prefix="bsscale-") as scratch:
            return prepare(Path(scratch)).dataset()
    with lock:
        # Whoever was writing it has been killed: a living process would hold the lock.
        unfinished(path).unlink(missing_ok=True)
        try:
            if dataset := _read(path, key):
                return dataset
        except DamagedError as error:
            _log.warning("The cached dataset %s is damaged (%s): preparing it again", path, error)
        _log.info("Preparing dataset %s, once; it is kept in %s", name, path.parent)
        _remove_abandoned(path.parent)
        with _scratch(path) as scratch:
            return _prepare(path, name, key, lambda: prepare(scratch))


def _prepare(path: Path, name: str, key: str, prepare: Callable[[], Prepared]) -> Dataset:
    """Prepare the data set and put it under `path`, if that can be written."""
    prepared = prepare()
    try:
        _write(path, key, prepared)
        # (pages of the file, which other processes share)
        if dataset := _read(path, key):
            return dataset
    except (OSError, DamagedError) as error:
        _log.warning("No cache for dataset %s: %s", name, error)
    return prepared.dataset()


@contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    """A folder for what is needed while the file `path` is prepared, under its lock."""
    folder = path.with_suffix(_SCRATCH)
    shutil.rmtree(folder, ignore_errors=True)  # (of a preparation that was killed)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(cache: Path) -> None:
    """Remove the folders of preparations that were killed: nobody holds their locks."""
    import filelock

    for folder in cache.glob(f"*{_SCRATCH}"):
        lock = filelock.FileLock(folder.with_suffix(".lock"))
        with suppress(filelock.Timeout, OSError), lock.acquire(timeout=0):
            shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, key: str, prepared: Prepared) -> None:
    """Put a data set under `path`."""
    described = {
        "format_version": _FORMAT_VERSION,
        "key": key,
        "data_key": prepared.key,
        "schema": vars(prepared.schema),
        "notes": prepared.notes,
        "columns": [vars(column) for column in prepared.columns],
        "best_possible": prepared.best_possible,
    }
    write_blocks(path, prepared.arrays, json.dumps(described))


def _read(path: Path, key: str) -> Dataset | None:
    """The data set in `path`, every byte of it checked; None where there is no file.

    Raises
    ------
    DamagedError
        There is something, but not the data set that was written under `key`.
    """
    try:
        arrays, text = map_checked(path)
    except FileNotFoundError:
        return None
    try:
        return _decode(arrays, json.loads(text), key)
    except (KeyError, TypeError, ValueError, AttributeError, BsscaleError) as error:
        raise DamagedError(f"{type(error).__name__}: {error}") from error


def _decode(arrays: Arrays, described: dict[str, Any], key: str) -> Dataset:
    """Turn what is in a file into a data set; any error means that the file is unusable."""
    if described["key"] != key:
        raise ValueError(f"it was written under the key {described['key']}")
    schema = Schema(**{k: tuple(v) for k, v in described["schema"].items()})
    columns = {"categorical": len(schema.categorical), "numeric": len(schema.numeric)}
    splits = []
    expected = _ARRAYS | (_WEIGHT if f"{SPLITS[0]}.weight" in arrays else {})
    for split in SPLITS:
        parts = {name: arrays[f"{split}.{name}"] for name in expected}
        for name, (dtype, dimensions) in expected.items():
            shape = (len(parts["label"]), columns.get(name, 0))[:dimensions]
            if parts[name].dtype != dtype or parts[name].shape != shape:
                raise ValueError(
                    f"{split}.{name} is {parts[name].dtype}{parts[name].shape}, "
                    f"not {np.dtype(dtype)}{shape}"
                )
        splits.append(Samples(**parts))
    train, validation, test = splits
    return Dataset(
        schema,
        ArrayStream(train),
        validation,
        test,
        best_possible=described["best_possible"],
        notes=tuple(described["notes"]),
        columns=tuple(ColumnFacts(**column) for column in described["columns"]),
        prepared_key=str(described["data_key"]),
    )
