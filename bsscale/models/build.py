"""A model from its configuration and the data set's schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from bsscale.errors import BsscaleError, ConfigError

if TYPE_CHECKING:
    from bsscale.data import Schema

__all__ = ["build_model"]


def build_model(config: Mapping[str, Any], schema: Schema) -> nn.Module:
    """Instantiate ``config["_target_"]`` for a data set.

    Parameters
    ----------
    config
        ``_target_`` (an importable class or function), ``name``, and the target's own options.
    schema
        The data set's columns; the target is given ``cardinalities`` and ``numeric_fields``.

    Raises
    ------
    ConfigError
        If the target cannot be imported, does not take these arguments, or is no ``nn.Module``.
    """
    from hydra.utils import instantiate

    options = {key: value for key, value in config.items() if key != "name"}
    target = options.get("_target_")
    try:
        model = instantiate(
            options,
            cardinalities=list(schema.cardinalities),
            numeric_fields=len(schema.numeric),
            _convert_="all",
        )
    except Exception as error:
        cause = error.__cause__ or error
        if isinstance(cause, BsscaleError):
            raise cause from None
        raise ConfigError(
            f"model {target} cannot be built: {cause}",
            "a model is a class whose constructor takes cardinalities and numeric_fields "
            "besides the options under model.; see bsscale/models/mlp.py for one",
        ) from error
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"model {target} is a {type(model).__name__}, not a torch.nn.Module",
            "let model._target_ name a class derived from torch.nn.Module",
        )
    return model
