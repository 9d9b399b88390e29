"""Values that no record may hold: those of environment variables that are called secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["without_secrets"]

_CALLED_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
# Shorter values ("1", "flights") occur everywhere, and are no secrets.
_SHORTEST = 8


def without_secrets(value: Any) -> Any:
    """Plain containers in which each secret is replaced by the reference that gave it.

    A secret is the value, of at least 8 characters, of an environment variable whose name contains
    KEY, TOKEN, SECRET, PASSW or CREDENTIAL. ``${oc.env:NAME}`` takes its place, also within a
    longer text such as an address.

    Parameters
    ----------
    value
        Mappings, lists and tuples of anything; only text is changed.
    """
    named = ((text, name) for name, text in os.environ.items() if _CALLED_SECRET.search(name))
    # The longest first: one secret may be the beginning of another.
    found = {
        text: f"${{oc.env:{name}}}"
        for text, name in sorted(named, key=lambda each: -len(each[0]))
        if len(text) >= _SHORTEST
    }
    return _replaced(value, found) if found else value


def _replaced(value: Any, secrets: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for secret, reference in secrets.items():
            value = value.replace(secret, reference)
        return value
    if isinstance(value, Mapping):
        return {key: _replaced(item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_replaced(item, secrets) for item in value)
    return value
