"""Measuring time, shared by the benchmarks."""

import time
from collections.abc import Callable
from typing import Any


def processor_seconds(call: Callable, *args: Any, **kwargs: Any) -> float:
    """Processor time of this process during ``call(*args, **kwargs)``; other processes do not count."""
    start = time.process_time()
    call(*args, **kwargs)
    return time.process_time() - start
