"""What ``-m`` starts its jobs with: hydra/launcher=stacked, or a cluster's."""

from bsscale.launcher.register import register_launcher

__all__ = ["register_launcher"]
