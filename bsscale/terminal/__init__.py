"""Output in the terminal: the console, progress, tables."""
