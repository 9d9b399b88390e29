"""What ``-m`` starts its jobs with: hydra/launcher=stacked, or a cluster's."""

from bsscale.launcher.register import IN_THIS_PROCESS, register_launcher

__all__ = ["IN_THIS_PROCESS", "register_launcher"]
