"""The launchers that start no other process."""

__all__ = ["IN_THIS_PROCESS"]

IN_THIS_PROCESS = ("stacked", "basic")
