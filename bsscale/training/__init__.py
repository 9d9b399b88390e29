"""The loop; a run's beginning, end and resume; ranks and signals."""
