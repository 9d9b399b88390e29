"""The records of runs and studies: writing, reading, and their identity."""
