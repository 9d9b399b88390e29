"""The launchers of ``-m``: hydra/launcher=stacked, and those of clusters."""
