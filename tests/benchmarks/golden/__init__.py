"""Whether two commits train the same: a fixed set of runs at both, compared to the bit.

    python -m tests.benchmarks.golden BASE                   # a commit against the working tree
    python -m tests.benchmarks.golden BASE --against HEAD    # against another commit
    python -m tests.benchmarks.golden BASE --against ../other-checkout
    python -m tests.benchmarks.golden BASE --only flights study
    python -m tests.benchmarks.golden --list

For changes that must not change what is trained: modules that move, records that get new names.
Both sides run on one machine, at the same time, each with a cache of its own. A case is one command
of `python -m bsscale`. The set holds every executor, training step, model, optimizer and schedule
at least once, not their product. What is compared:

- evaluations: every column but the times. A column that only one side has is ignored, unless
  format 1 has it;
- weights: names, types, shapes and bytes of every tensor in model.safetensors;
- how a run ended: status, updates, samples to the target, best, final and test AUC (the test AUC of
  a run that reached its target only within one format: format 2 takes it at another update);
- the numbers that range_test.json and study.json settle, and every run of a study.

The table has a row for each case: equal, or where it first differs and by how much. The exit code
is 1 if a case differs, or if its command fails.

Only the command line and the record files are used, none of bsscale's modules; so the two sides may
have other modules and another record format. `records` knows both formats' names. An option that an
older commit spells otherwise is noted in `Case.older`.

Another machine, processor or version of torch rounds differently. So nothing is stored here;
tests/test_golden.py compares with stored numbers, within a tolerance.
"""
