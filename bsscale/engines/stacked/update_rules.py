"""The update rules of torch.optim, over the stacked parameters of many runs.

Every run has a learning rate and a momentum of its own at every update. Whatever depends on them
and on the number of updates alone is computed beforehand in float64, for many updates at once
(`coefficients`); what is left is elementwise on tensors of shape (width, elements).

An update has two halves. `open` prepares the gradient accumulators, into which the backward pass
adds; `apply` changes the parameters. Plain momentum SGD accumulates straight into its momentum
buffer, which saves two passes over the parameters, unless gradients are clipped in between.

Embedding tables can be updated only where a batch touched them (``sparse``). Untouched rows have
no gradient, so that for SGD without momentum and for Adagrad, both without weight decay, nothing
is left out: the result is the same to the bit. Momentum and Adam are *lazy*, as
``torch.optim.SparseAdam`` is (which scales ε differently): the averages of a row, and its weight
decay, stand still while it is not touched.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bsscale.optimizers import AdagradConfig, AdamConfig, AdamWConfig, OptimizerConfig, SGDConfig

__all__ = ["UpdateRule", "make_update_rule"]

Floats = npt.NDArray[np.float64]


class UpdateRule(ABC):
    """One optimizer over stacked parameters.

    Parameters
    ----------
    config
        The optimizer's options. Learning rate and momentum are each run's own.
    parameters
        Tensors of shape (width, elements).
    sparse
        For each parameter tensor that is updated only where it was touched, the length of a row.

    Attributes
    ----------
    gradients
        Where the backward pass adds gradients, shaped as the parameters.
    """

    # torch.optim's names of the state besides the gradient, each shaped as the parameters.
    states: ClassVar[tuple[str, ...]]

    def __init__(
        self, config: OptimizerConfig, parameters: Sequence[Tensor], sparse: Mapping[int, int]
    ) -> None:
        self.weight_decay = config.weight_decay
        self.parameters = list(parameters)
        self.sparse = dict(sparse)
        self.state = [[torch.zeros_like(tensor) for _ in self.states] for tensor in parameters]
        self.gradients = [
            state[0] if self._into_state(number) else torch.zeros_like(tensor)
            for number, (tensor, state) in enumerate(zip(parameters, self.state, strict=True))
        ]

    @abstractmethod
    def coefficients(self, lr: Floats, momentum: Floats, step: npt.NDArray[np.int64]) -> Floats:
        """What `apply` needs of some updates.

        Parameters
        ----------
        lr, momentum, step
            Learning rate, momentum and number of each update (from 0), all of shape
            (updates, width).

        Returns
        -------
        Shape (updates, coefficients, width). All zero, it would leave every parameter as it is.
        """

    @abstractmethod
    def rule(
        self, value: Tensor, gradient: Tensor, state: Sequence[Tensor], c: Sequence[Tensor]
    ) -> None:
        """Update `value` and `state` in place; `c` are coefficients that broadcast."""

    def _into_state(self, number: int) -> bool:
        """Whether gradients go straight into the first state of a parameter tensor."""
        return False

    def open(self, c: Tensor) -> None:
        """Prepare the accumulators; `c` are the update's coefficients, (coefficients, width)."""
        for number, gradient in enumerate(self.gradients):
            if number not in self.sparse:
                gradient.zero_()

    def apply(self, c: Tensor, touched: Mapping[int, Tensor]) -> None:
        """Update the parameters.

        Parameters
        ----------
        c
            As `open`.
        touched
            For each sparse parameter tensor, the rows that the batch touched, numbered through
            all runs, shape (width x rows a run,); repetitions are fine.
        """
        columns = list(c.unsqueeze(-1))
        for number, value in enumerate(self.parameters):
            if number in self.sparse:
                self._apply_to_rows(number, touched[number], c)
            else:
                self.rule(value, self.gradients[number], self.state[number], columns)

    def _apply_to_rows(self, number: int, rows: Tensor, c: Tensor) -> None:
        """The same rule on the touched rows. Rows that repeat are written twice, alike."""
        length = self.sparse[number]
        tables = [
            tensor.view(-1, length)
            for tensor in (self.parameters[number], self.gradients[number], *self.state[number])
        ]
        value, gradient, *state = (table.index_select(0, rows) for table in tables)
        width = c.shape[1]
        columns = [
            column.unsqueeze(1).expand(width, len(rows) // width).reshape(-1, 1) for column in c
        ]
        self.rule(value, gradient, state, columns)
        for table, new in zip([tables[0], *tables[2:]], [value, *state], strict=True):
            table.index_copy_(0, rows, new)
        tables[1].index_fill_(0, rows, 0.0)

    def clear(self, slot: int) -> None:
        """Forget a slot's state."""
        for state, gradient in zip(self.state, self.gradients, strict=True):
            for tensor in (*state, gradient):
                tensor[slot].zero_()


class SGD(UpdateRule):
    """torch.optim.SGD without momentum: θ ← θ − lr·(g + λθ)."""

    states = ()

    def coefficients(self, lr: Floats, momentum: Floats, step: npt.NDArray[np.int64]) -> Floats:
        return np.stack([-lr], axis=1)

    def rule(
        self, value: Tensor, gradient: Tensor, state: Sequence[Tensor], c: Sequence[Tensor]
    ) -> None:
        if self.weight_decay:
            gradient.add_(value, alpha=self.weight_decay)
        value.addcmul_(gradient, c[0])


class MomentumSGD(UpdateRule):
    """torch.optim.SGD with momentum: v ← μv + g + λθ; θ ← θ − lr·v, or lr·(g + μv) (Nesterov)."""

    states = ("momentum_buffer",)

    def __init__(
        self,
        config: SGDConfig,
        parameters: Sequence[Tensor],
        sparse: Mapping[int, int],
        clipped: bool,
    ) -> None:
        self.nesterov = config.nesterov
        self._plain = not config.nesterov and config.weight_decay == 0 and not clipped
        super().__init__(config, parameters, sparse)

    def _into_state(self, number: int) -> bool:
        return self._plain and number not in self.sparse

    def coefficients(self, lr: Floats, momentum: Floats, step: npt.NDArray[np.int64]) -> Floats:
        return np.stack([-lr, momentum], axis=1)

    def open(self, c: Tensor) -> None:
        if not self._plain:
            super().open(c)
            return
        momentum = c[1].unsqueeze(-1)
        for number, (velocity,) in enumerate(self.state):
            if number not in self.sparse:
                velocity.mul_(momentum)

    def rule(
        self, value: Tensor, gradient: Tensor, state: Sequence[Tensor], c: Sequence[Tensor]
    ) -> None:
        (velocity,) = state
        if velocity is not gradient:
            if self.weight_decay:
                gradient.add_(value, alpha=self.weight_decay)
            velocity.mul_(c[1]).add_(gradient)
            if self.nesterov:
                velocity = gradient.addcmul_(velocity, c[1])
        value.addcmul_(velocity, c[0])


class Adam(UpdateRule):
    """torch.optim.Adam, and AdamW with ``decoupled`` weight decay (arXiv:1412.6980, 1711.05101).

    beta1 is each run's momentum. As in torch, the bias correction of an update is that of its own
    beta1: 1 − beta1^t.
    """

    states = ("exp_avg", "exp_avg_sq")

    def __init__(
        self, config: AdamConfig, parameters: Sequence[Tensor], sparse: Mapping[int, int]
    ) -> None:
        self.beta2, self.eps = config.beta2, config.eps
        self.decoupled = isinstance(config, AdamWConfig)
        super().__init__(config, parameters, sparse)

    def coefficients(self, lr: Floats, momentum: Floats, step: npt.NDArray[np.int64]) -> Floats:
        number = step + 1
        return np.stack(
            [
                -lr / (1 - momentum**number),
                1 - momentum,
                1 / np.sqrt(1 - self.beta2**number),
                -lr * self.weight_decay if self.decoupled else np.zeros_like(lr),
            ],
            axis=1,
        )

    def rule(
        self, value: Tensor, gradient: Tensor, state: Sequence[Tensor], c: Sequence[Tensor]
    ) -> None:
        mean, square = state
        if self.weight_decay and self.decoupled:
            value.addcmul_(value, c[3])
        elif self.weight_decay:
            gradient.add_(value, alpha=self.weight_decay)
        mean.lerp_(gradient, c[1])
        square.mul_(self.beta2).addcmul_(gradient, gradient, value=1 - self.beta2)
        # The gradient has been used: its memory is free for √v / √(1 − β₂^t) + ε, and m over it.
        scale = torch.sqrt(square, out=gradient).mul_(c[2]).add_(self.eps)
        value.addcmul_(torch.div(mean, scale, out=scale), c[0])


class Adagrad(UpdateRule):
    """torch.optim.Adagrad: s ← s + g²; θ ← θ − lr·g / (√s + ε)."""

    states = ("sum",)

    def __init__(
        self, config: AdagradConfig, parameters: Sequence[Tensor], sparse: Mapping[int, int]
    ) -> None:
        self.eps = config.eps
        super().__init__(config, parameters, sparse)

    def coefficients(self, lr: Floats, momentum: Floats, step: npt.NDArray[np.int64]) -> Floats:
        return np.stack([-lr], axis=1)

    def rule(
        self, value: Tensor, gradient: Tensor, state: Sequence[Tensor], c: Sequence[Tensor]
    ) -> None:
        (square,) = state
        if self.weight_decay:
            gradient.add_(value, alpha=self.weight_decay)
        square.addcmul_(gradient, gradient)
        scale = square.sqrt().add_(self.eps)
        value.addcmul_(torch.div(gradient, scale, out=scale), c[0])


def make_update_rule(
    config: OptimizerConfig,
    parameters: Sequence[Tensor],
    sparse: Mapping[int, int],
    clipped: bool,
) -> UpdateRule:
    """The update rule of an optimizer's options.

    Parameters
    ----------
    config, parameters, sparse
        As `UpdateRule` has them.
    clipped
        Whether gradients are changed between the backward pass and `UpdateRule.apply`, and so
        must not be added to anything before.
    """
    match config:
        case SGDConfig():
            if config.momentum_now is None:
                return SGD(config, parameters, sparse)
            return MomentumSGD(config, parameters, sparse, clipped)
        case AdamConfig():
            return Adam(config, parameters, sparse)
        case AdagradConfig():
            return Adagrad(config, parameters, sparse)
    raise TypeError(f"no stacked update rule for {type(config).__name__}")
