"""Engines: the same training, by stacked runs, by torch's own machinery, or over processes.

`stacked.StackedEngine` trains many runs at once in one process, and a single run as well;
`eager.EagerEngine` trains any module run by run; `ddp.DDPEngine` is one rank of a run over many
processes. An engine owns models and optimizers, reads its share of every global batch from the
training stream, and scores samples. It knows nothing of targets or records.

Import them from their modules: each pulls in other parts of torch, some of which take a second.
"""

import os

# On some processors MKL's products add in an order that depends on the address of a matrix, and so
# on a run's place in its stack. In this mode they do not ("conditional numerical reproducibility",
# oneMKL's developer guide); it is as fast. MKL reads it at its first product in a process.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
