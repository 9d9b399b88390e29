"""What a run is judged by: exact metrics, the crossing of its target, divergence. Pure."""
