"""What can be measured on a machine with a GPU alone; `tests/benchmarks/gpu.sh` runs all of it.

    python -m tests.benchmarks.gpu smoke --json results.jsonl
    python -m tests.benchmarks.gpu time --device cpu --json results.jsonl

=========  =========================================================================================
``smoke``  whether the numbers are those of the CPU, from the simplest to the largest case
``time``   microseconds of an update: runs x batch, with and without CUDA graphs, compiled, by torch
``eval``   milliseconds of what happens between updates: scores, metrics, and the samples to come
``study``  seconds of whole commands: one run, 15 runs, and runs one by one
=========  =========================================================================================

Every case is a line of JSON that is written as soon as it is known. A case that fails is a line as
well, with its traceback, and the next case begins. With ``--device cpu`` every case is small: that
shows that the script works, not how fast anything is. CUDA graphs are then emulated.
"""
