"""W&B as a mirror of the records, and its dashboard."""
