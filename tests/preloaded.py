"""Commands of bsscale as real processes that are spared the import of torch.

    python -W error -m tests.preloaded FROM TO

imports what nearly every command imports from other packages (nothing of bsscale), and then, for
each request that it reads from descriptor FROM, forks a process that is what ``python -m bsscale``
would be at its first line: with the arguments, directory, environment and files that the request
names. To descriptor TO it writes the child's process id, and its exit code when it has ended. A
suite of several hundred commands takes a third less time.
"""

from __future__ import annotations

import json
import os
import random
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# What an interpreter or a library reads when it starts: these must be those of the server.
AT_START = ("PYTHON", "OMP_", "OPENBLAS_", "MKL_", "KMP_", "TORCH", "CUDA_", "LD_", "LC_", "LANG")


def at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that only a new interpreter would notice."""
    return {k: v for k, v in environment.items() if k.startswith(AT_START)}


class Preloaded:
    """A server of such processes.

    Parameters
    ----------
    interpreter
        The command of the interpreter, with its options.
    environment
        That of the server.
    """

    def __init__(self, interpreter: Sequence[str], environment: Mapping[str, str]) -> None:
        self.at_start = at_start(environment)
        requests, self._to = os.pipe()
        self._from, answers = os.pipe()
        self._process = subprocess.Popen(
            [*interpreter, "-m", "tests.preloaded", str(requests), str(answers)],
            env=environment,
            pass_fds=(requests, answers),
            stdin=subprocess.DEVNULL,
        )
        os.close(requests)
        os.close(answers)
        self._answers = os.fdopen(self._from)

    def run(
        self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], out: Path
    ) -> int:
        """Run bsscale into the files `out`.out and `out`.err; returns its exit code."""
        request = {
            "arguments": list(arguments), "cwd": str(cwd), "environment": dict(environment),
            "out": str(out),
        }  # fmt: skip
        os.write(self._to, json.dumps(request).encode() + b"\n")
        child = int(self._answers.readline())
        try:
            return int(self._answers.readline())
        except BaseException:  # (a test that is stopped)
            os.kill(child, signal.SIGKILL)
            self._answers.readline()
            raise

    def close(self) -> None:
        """End the server."""
        os.close(self._to)
        self._process.wait()
        self._answers.close()


def serve(requests: int, answers: int) -> dict[str, Any] | None:
    """Fork for each request; returns the request in the child, and None at the end."""
    for descriptor in (requests, answers):
        os.set_inheritable(descriptor, False)
    with os.fdopen(requests) as lines:
        for line in lines:
            request: dict[str, Any] = json.loads(line)
            child = os.fork()
            if child == 0:
                os.close(answers)
                return request
            os.write(answers, f"{child}\n".encode())
            _, status = os.waitpid(child, 0)
            os.write(answers, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    return None


def become(request: dict[str, Any]) -> None:
    """Take on a request, and forget what a new interpreter would not know."""
    random.seed()
    tempfile.tempdir = None
    for descriptor, ending in ((1, ".out"), (2, ".err")):
        file = os.open(request["out"] + ending, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    sys.path[0] = request["cwd"]
    sys.argv[:] = ["bsscale", *request["arguments"]]


if __name__ == "__main__":
    import hydra.main  # noqa: F401 - what the children have without importing it
    import safetensors.torch  # noqa: F401
    import torch  # noqa: F401

    asked = serve(int(sys.argv[1]), int(sys.argv[2]))
    if asked is not None:
        become(asked)
        runpy.run_module("bsscale", run_name="__main__", alter_sys=True)
