"""What a run and a study write and read back, and what identifies them."""
