"""The environment of a result: package versions, device, git commit."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["describe_environment"]

_PACKAGES = ("bsscale", "torch", "numpy", "scipy", "scikit-learn", "polars", "hydra-core", "wandb")


def describe_environment(device: str) -> dict[str, Any]:
    """Versions, device and commit, as plain containers.

    Parameters
    ----------
    device
        cpu or cuda; script where it is not known.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": dict(_versions()),
        "device": None if device == "script" else _device_name(device),
        "git_commit": _git_commit(),
    }


# What a process has imported does not change any more.
@cache
def _versions() -> dict[str, str | None]:
    packages: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = None
    return packages


def _device_name(device: str) -> str:
    import torch

    if device == "cuda":
        return str(torch.cuda.get_device_name())
    return f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"


@cache
def _git_commit() -> str | None:
    """The commit of the checkout that bsscale runs from; None if it is installed elsewhere."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
