"""Data sets as arrays with a schema, and the order in which their samples are seen."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bsscale.data.checks import check_dataset
from bsscale.data.dataset import ArrayStream, ColumnFacts, Dataset, Samples, Schema, TrainStream
from bsscale.errors import BsscaleError, DataError

__all__ = [
    "ArrayStream",
    "ColumnFacts",
    "Dataset",
    "Samples",
    "Schema",
    "TrainStream",
    "load_dataset",
]


def load_dataset(config: Mapping[str, Any]) -> Dataset:
    """Call what `config` names, a loader of bsscale's or the user's own.

    Parameters
    ----------
    config
        ``_target_`` is the import path of a function or class that gives a `Dataset`; ``name`` is
        for people; everything else is passed on as keyword arguments.

    Raises
    ------
    BsscaleError
        What the loader itself raised.
    DataError
        There is no such loader, it has no such arguments, it failed, or it gave something else.
    """
    target = config.get("_target_")
    if not target:
        raise DataError(
            f"the dataset {config.get('name', '')!r} has no _target_",
            "give the import path of a function that returns a bsscale.data.Dataset",
        )
    import hydra

    arguments = {key: value for key, value in config.items() if key != "name"}
    try:
        # Lists and dicts arrive as such, not as OmegaConf's.
        dataset = hydra.utils.instantiate({"_convert_": "all", **arguments})
        if isinstance(dataset, Dataset):
            check_dataset(dataset)
    except Exception as error:
        cause = _unwrapped(error)
        if isinstance(cause, BsscaleError):
            raise cause from cause.__cause__
        raise _explained(cause, target) from cause
    if not isinstance(dataset, Dataset):
        raise DataError(
            f"dataset._target_={target} gave a {type(dataset).__name__}, not a Dataset",
            "return a bsscale.data.Dataset, for instance by Dataset.from_arrays",
        )
    return replace(dataset, arguments=arguments)


def _unwrapped(error: BaseException) -> BaseException:
    """The error of the loader, without Hydra's wrapping."""
    from hydra.errors import InstantiationException

    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _explained(cause: BaseException, target: str) -> DataError:
    """Any other error as one that a user can act on."""
    from hydra.errors import InstantiationException

    text = " ".join(str(cause).split())
    if isinstance(cause, InstantiationException | ImportError):
        return DataError(
            f"cannot import dataset._target_={target}: {text}",
            "check the path; your own module must be importable (installed, or on PYTHONPATH)",
        )
    options = _options(target)
    return DataError(
        f"dataset._target_={target} failed with {type(cause).__name__}: {text}",
        f"its options are: {options}"
        if isinstance(cause, TypeError) and options
        else "correct the loader, or the arrays that it gives",
    )


def _options(target: str) -> str:
    """The parameters of a loader, for a message; empty where they cannot be told."""
    import hydra

    try:
        return ", ".join(inspect.signature(hydra.utils.get_object(target)).parameters)
    except (TypeError, ValueError):
        return ""
