"""A training loop of your own, in a study of bsscale's: its model and its data are not bsscale's.

The lines with `run` are all that a loop needs. docs/your_script.md has the command of the study
that answers how to train it on 8 GPUs. Without bsscale around it, `python examples/torch_loop.py`
trains one run and writes its records.
"""

import math

import torch

from bsscale.bridge import join

FIELDS, TRAIN, VALIDATION = 50, 16_384, 8_192


def make_data() -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and labels: a random network decides, and one label in ten is wrong."""
    chance = torch.Generator().manual_seed(1)
    rows = torch.randn(TRAIN + VALIDATION, FIELDS, generator=chance)
    hidden = torch.tanh(rows @ torch.randn(FIELDS, 8, generator=chance) / math.sqrt(FIELDS) * 2)
    truth = hidden @ torch.randn(8, generator=chance) > 0
    wrong = torch.rand(len(rows), generator=chance) < 0.1
    return rows, (truth ^ wrong).float()


def auc(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """Area under the ROC curve, from the ranks of the scores (there are no ties)."""
    ranks = scores.argsort().argsort().double() + 1
    positives = labels.sum().double()
    above = ranks[labels == 1].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(labels) - positives)))


run = join(  # the keywords are for a run that bsscale has not started
    micro_batch=32, base_lr=0.1, budget_samples=8 * TRAIN, target=0.87, momentum=0.9
)
rows, labels = make_data()
torch.manual_seed(run.seed)
model = torch.nn.Sequential(
    torch.nn.Linear(FIELDS, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1), torch.nn.Flatten(0)
)
loss_of = torch.nn.BCEWithLogitsLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scheduler = run.attach(optimizer)


def squared_norm(some: torch.Tensor) -> float:
    """Of the gradient of the loss on some rows."""
    loss = loss_of(model(rows[some]), labels[some])
    return sum(float(part.square().sum()) for part in torch.autograd.grad(loss, model.parameters()))


samples, ended = 0, False
chance = torch.Generator().manual_seed(run.seed)  # (apart: the order of training stays the same)
while not ended:
    whole = torch.randperm(TRAIN)[: TRAIN // run.global_batch * run.global_batch]
    for batch in whole.split(run.global_batch):  # (8 GPUs would take run.micro_batch each)
        optimizer.zero_grad()
        loss_of(model(rows[batch]), labels[batch]).backward()
        optimizer.step()
        scheduler.step()
        samples += run.global_batch
        if run.due(samples):
            # The gradient noise scale, from 8 small batches and all of their rows.
            small = torch.randint(TRAIN, (8, run.micro_batch), generator=chance)
            run.noise_scale(
                [squared_norm(some) for some in small],
                squared_norm(small.flatten()),
                large_batch=8 * run.micro_batch,
            )
            with torch.no_grad():
                scores, truth = model(rows[TRAIN:]), labels[TRAIN:]
                ended = run.report(
                    samples, auc=auc(scores, truth), log_loss=loss_of(scores, truth).item()
                )
            if ended:
                break
