"""A training script without torch: scikit-learn's partial_fit, at the rate of each update.

python -m bsscale trainer=script 'trainer.command="python examples/sklearn_loop.py"' \
    trainer.samples_per_pass=1200 metric=accuracy schedule=onecycle gpus=4 micro_batch=16 \
    base_lr=0.02
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier

from bsscale.bridge import join

run = join()
digits = load_digits()
rows, labels = digits.data / 16, digits.target
model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=run.lr, alpha=1e-4)
chance = np.random.default_rng(run.seed)
samples = 0
while True:
    batch = chance.integers(0, 1200, run.global_batch)
    # partial_fit takes one update for each row: their sum is that of the batch's mean gradient.
    rate = run.schedule.lr(samples // run.global_batch)
    model.set_params(eta0=rate / run.global_batch)
    model.partial_fit(rows[batch], labels[batch], classes=np.arange(10))
    samples += run.global_batch
    if run.due(samples):
        accuracy = model.score(rows[1200:], labels[1200:])
        if run.report(samples, accuracy=accuracy, lr=rate):
            break
