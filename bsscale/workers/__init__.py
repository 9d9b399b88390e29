"""Where the runs of a sweep or a study are trained: in this process, or in a pool of others."""

from bsscale.workers.train import Workers, describe_workers

__all__ = ["Workers", "describe_workers"]
