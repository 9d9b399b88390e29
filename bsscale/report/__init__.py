"""Reports made from records alone: read, summarize, tables, charts, page."""
