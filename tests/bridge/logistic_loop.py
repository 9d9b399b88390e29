"""What ``model=logistic dataset=synthetic precision=fp64`` trains, written by hand in torch."""

import sys

import torch
from sklearn.metrics import log_loss, roc_auc_score
from torch import Tensor

from bsscale.bridge import join
from bsscale.data import Samples, load_dataset

data = load_dataset(
    {
        "_target_": "bsscale.data.synthetic.load",
        "samples_per_pass": 20_000,
        "validation_samples": 4000,
        "test_samples": 2000,
    }
)
run = join()
cardinalities = torch.tensor(data.schema.cardinalities)
first_ids = cardinalities.cumsum(0) - cardinalities
table = torch.zeros(int(cardinalities.sum()), dtype=torch.float64, requires_grad=True)
weights = torch.zeros(len(data.schema.numeric), dtype=torch.float64, requires_grad=True)
bias = torch.zeros((), dtype=torch.float64, requires_grad=True)


def logits(samples: Samples) -> Tensor:
    ids = torch.from_numpy(samples.categorical).long() + first_ids
    return table[ids].sum(1) + torch.from_numpy(samples.numeric).double() @ weights + bias


def evaluated(samples: int) -> bool:
    with torch.no_grad():
        scores = logits(data.validation)
    chances = torch.sigmoid(scores)
    return run.report(
        samples,
        auc=roc_auc_score(data.validation.label, scores),
        log_loss=log_loss(data.validation.label, chances.numpy()),
    )


optimizer = torch.optim.SGD([table, weights, bias], lr=run.lr, momentum=0.9)
scheduler = run.attach(optimizer)
evaluated(0)
samples = 0
while True:
    batch = data.train.read(run.seed, samples, samples + run.global_batch)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        logits(batch), torch.from_numpy(batch.label).double()
    )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()
    samples += run.global_batch
    if run.due(samples) and evaluated(samples):
        sys.exit()
