"""What ``-m`` starts its jobs with: hydra/launcher=stacked, or a cluster's."""
