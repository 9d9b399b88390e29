"""What a person sees: the console, progress, tables."""
