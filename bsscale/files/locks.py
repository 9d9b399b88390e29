"""A lock on a path. It is released when its process ends, however it ends."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from bsscale.errors import BsscaleError

if TYPE_CHECKING:
    from filelock import FileLock

__all__ = ["hold"]

log = logging.getLogger(__name__)


def hold(path: Path, busy: BsscaleError | None) -> FileLock | None:
    """Take a lock. Return it, so that it can be released, or None on a file system without locks.

    Parameters
    ----------
    path
        The lock's file; its directory must exist.
    busy
        Raised if another process holds it; None: wait until it is released.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, blocking=busy is None)
    try:
        lock.acquire()
    except Timeout:
        assert busy is not None
        raise busy from None
    except (OSError, NotImplementedError) as error:
        log.warning("warning: %s cannot be locked: %s", path.parent, error)
        return None
    return lock
