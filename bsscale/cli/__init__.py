"""The command line: where Hydra is."""
