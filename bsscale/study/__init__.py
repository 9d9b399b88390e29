"""task=study and task=range_test: from "I have N GPUs now" to an answer with error bars."""
