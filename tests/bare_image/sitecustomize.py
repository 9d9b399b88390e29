"""Hides every package that an image for machine learning rarely has.

With this folder in PYTHONPATH, a Python process and all its children find only what such an image
holds, and the packages that `tests/benchmarks/gpu.sh` carries there.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import Distribution, DistributionFinder
from types import ModuleType

# Packages, and the names of their modules where these differ. What they need comes along.
IMAGE = {
    "torch": ("torch", "torchgen", "functorch"), "triton": (), "numpy": (), "scipy": (),
    "scikit-learn": ("sklearn",), "joblib": (), "threadpoolctl": (), "sympy": (), "mpmath": (),
    "networkx": (), "jinja2": (), "markupsafe": (), "fsspec": (), "filelock": (), "psutil": (),
    "typing-extensions": (), "setuptools": (), "packaging": (), "pyyaml": ("yaml",), "rich": (),
    "pygments": (), "markdown-it-py": ("markdown_it",), "mdurl": (), "tqdm": (), "safetensors": (),
    "pytest": ("pytest", "py"), "pluggy": (), "iniconfig": (), "hypothesis": (),
    "sortedcontainers": (), "pip": (),
}  # fmt: skip
CARRIED = {
    "hydra-core": ("hydra",), "omegaconf": (), "antlr4-python3-runtime": ("antlr4",),
    "platformdirs": (), "msgspec": (),
}  # fmt: skip
FOUND = IMAGE | CARRIED
MODULES = {module for name, own in FOUND.items() for module in (*own, name.replace("-", "_"))}
# Packages are installed here; the standard library and the repository are not.
INSTALLED = ("site-packages", "dist-packages")


class BareImage(PathFinder):
    """Finds what is on sys.path, less what is hidden."""

    @classmethod
    def find_spec(
        cls,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        spec = super().find_spec(fullname, path, target)
        if spec is None or "." in fullname or fullname.startswith("_") or fullname in MODULES:
            return spec
        places = [spec.origin or "", *(spec.submodule_search_locations or ())]
        return None if any(name in place for name in INSTALLED for place in places) else spec

    @classmethod
    def find_distributions(  # type: ignore[override]
        cls, context: DistributionFinder.Context | None = None
    ) -> Iterable[Distribution]:
        context = DistributionFinder.Context() if context is None else context
        found = super().find_distributions(context)
        return (each for each in found if re.sub(r"[-_.]+", "-", each.name).lower() in FOUND)


sys.meta_path = [BareImage if each is PathFinder else each for each in sys.meta_path]
