"""bsscale: what must happen to the learning rate when a training job grows from 1 GPU to N.

``python -m bsscale --help`` is the way in. As a library: `bsscale.schedules` (schedules as pure
values), `bsscale.metrics` (exact ROC AUC, samples-to-target) and `bsscale.data`.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("bsscale")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
