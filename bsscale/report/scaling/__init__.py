"""The result of task=scaling: scaling.json, a table, sentences, figures and the page."""
