"""The benchmark's model as a user's own."""

from __future__ import annotations

from bsscale.models import MLP


class OwnMLP(MLP):
    """A model that ships, under a name that bsscale does not know."""
