"""One training step, and one start-up: bsscale against loops that train one run each.

    pip install -c constraints.txt -e '.[bench]'
    python -m tests.benchmarks.bench_training
    python -m tests.benchmarks.bench_training --micro-batches 64 --rounds 3 --only eager,lightning

What is measured
----------------
Every contestant trains the same model on the same rows: 10 categorical fields of 1000 ids each,
embeddings of length 8, a multilayer perceptron 128-64-1 with ReLU, binary cross-entropy on logits,
SGD at learning rate 0.01 and momentum 0.9, float32, one thread, on the CPU. Last batches that are
not full are dropped, so that every step has as many rows as the next.

================  ==================================================================================
``eager``         a hand-written PyTorch loop over rows in RAM, in the order of a permutation
``dataloader``    the same loop over a shuffling DataLoader of a TensorDataset, no workers
``lightning``     Lightning's Trainer in its barebones mode, given the batches of ``eager``
``deepspeed``     DeepSpeed's engine on the CPU, world size 1, given the batches of ``eager``
``bsscale R=1``   bsscale with one run
``bsscale R=15``  bsscale with 15 runs
``products``      the matrix products of these two and nothing else: the least that a step can take
================  ==================================================================================

Step
    Whole epochs after a warm-up, without building: CPU time of the process and wall time, divided
    by the steps and by the runs that a step advances. Each contestant has a process of its own, so
    that none pays for what another one imports or leaves behind; they take turns, so that a machine
    that slows down slows all. The table gives medians over the rounds, and their range.
Start-up
    CPU time (user and system, children included) of a fresh process that imports, builds and takes
    its first step, from the same rows.

On a CUDA device (``--device cuda``) `eager` and bsscale are compared, in wall time: 15 runs at once
against one, and against 15 one after the other.

A contestant whose package is not installed is left out, and a line says so. A whole training run of
plain PyTorch, the yardstick of whole studies, is in dataloader_run.
"""

import os

# Before torch is imported anywhere, workers included.
os.environ["OMP_NUM_THREADS"] = "1"
