"""The YAML files that ship with bsscale, read as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

__all__ = ["CONFIG_DIRECTORY", "shipped_options"]

# In a wheel the YAML files lie inside the package, in a checkout beside it.
_PACKAGE = Path(__file__).parent.parent
_PACKAGED = _PACKAGE / "conf"
CONFIG_DIRECTORY = _PACKAGED if _PACKAGED.is_dir() else _PACKAGE.parent / "conf"


def shipped_options(group: str, name: str) -> dict[str, Any] | None:
    """The options that a file of conf/ sets, such as conf/model/dlrm.yaml; None without the file.

    Parameters
    ----------
    group
        The name of its folder; empty for conf/config.yaml.
    name
        Of the file, without its ending.
    """
    path = CONFIG_DIRECTORY / group / f"{name}.yaml"
    if "/" in name or not path.is_file():
        return None
    content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items() if key != "hydra"}
