"""The contestants that are not bsscale."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from itertools import islice
from typing import Any

from tests.benchmarks.bench_training.contestant import Contestant, Seconds

EXTRAS = ("lightning", "deepspeed")


def contestants() -> list[Contestant]:
    """Those whose packages are installed."""
    peers: list[Contestant] = [Eager(), Loader(), Lightning(), DeepSpeed()]
    return [peer for peer in peers if peer.name not in missing()]


def missing() -> list[str]:
    """The packages that are not installed; each is the name of a contestant."""
    return [name for name in EXTRAS if find_spec(name) is None]


def endless(epoch: Iterable[Any]) -> Iterator[Any]:
    while True:
        yield from epoch


class Loop(ABC):
    """A contestant whose loop is written here: one call for one step."""

    name: str
    runs = 1

    def __init__(self) -> None:
        self._built: dict[int, Callable[[int], None]] = {}

    @abstractmethod
    def build(self, micro_batch: int) -> Callable[[int], None]:
        """What takes a number of steps."""

    def measure(self, micro_batch: int, steps: int, warm_up: int) -> Seconds:
        if micro_batch not in self._built:
            self._built[micro_batch] = self.build(micro_batch)
        advance = self._built[micro_batch]
        advance(warm_up)
        start = Seconds.now()
        advance(steps)
        return Seconds.now().since(start)


class Eager(Loop):
    """PyTorch by hand, batches taken from RAM by the index of a permutation."""

    name = "eager"

    def epoch(self, micro_batch: int) -> Iterable[Any]:
        from tests.benchmarks.bench_training.model import Epoch

        return Epoch(micro_batch)

    def build(self, micro_batch: int) -> Callable[[int], None]:
        from torch.nn.functional import binary_cross_entropy_with_logits

        from tests.benchmarks.bench_training.model import build_model, build_optimizer

        model = build_model()
        optimizer = build_optimizer(model)
        batches = endless(self.epoch(micro_batch))

        def advance(steps: int) -> None:
            for ids, label in islice(batches, steps):
                optimizer.zero_grad(set_to_none=True)
                binary_cross_entropy_with_logits(model(ids), label).backward()
                optimizer.step()

        return advance


class Loader(Eager):
    """The same loop over a DataLoader, which takes row by row and stacks them."""

    name = "dataloader"

    def epoch(self, micro_batch: int) -> Iterable[Any]:
        from torch.utils.data import DataLoader, TensorDataset

        from tests.benchmarks.bench_training.model import tensors

        rows = TensorDataset(*tensors())
        return DataLoader(rows, batch_size=micro_batch, shuffle=True, drop_last=True)


class DeepSpeed(Loop):
    """DeepSpeed's engine without ZeRO, one process that is the whole world."""

    name = "deepspeed"

    def build(self, micro_batch: int) -> Callable[[int], None]:
        from tests.benchmarks.bench_training.deepspeed_engine import build

        return build(micro_batch)


class Lightning:
    """Lightning's own loop; each measurement is one fit(), timed between two of its steps."""

    name = "lightning"
    runs = 1

    def measure(self, micro_batch: int, steps: int, warm_up: int) -> Seconds:
        from tests.benchmarks.bench_training.lightning_module import built

        return built(micro_batch).fit(steps, warm_up)
