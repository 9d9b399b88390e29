"""bsscale: what must happen to the learning rate when a training job grows from 1 GPU to N.

``python -m bsscale --help`` is the way in. As a library: `bsscale.schedules` (schedules as pure
values), `bsscale.objectives.binary` (exact ROC AUC, samples-to-target) and `bsscale.data`.
"""

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """``__version__``, looked up when it is asked for: that takes longer than all else here."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("bsscale")
    except PackageNotFoundError:  # a checkout that is not installed
        return "0+unknown"
