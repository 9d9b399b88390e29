"""A training script that is not bsscale's: its run, what it is told and what it reports.

In the script::

    from bsscale.bridge import join

    run = join()
    scheduler = run.attach(optimizer)
    for batch in loader(run.micro_batch, seed=run.seed):
        ...
        scheduler.step()
        if run.due(samples) and run.report(samples, auc=auc, log_loss=loss):
            break
"""

from bsscale.bridge.run import Run, join

__all__ = ["Run", "join"]
