"""Parts of a network that are functions of several modules and are compiled as one, such as the end of a stage."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import torch
from torch import nn

# What torch.compile takes as its backend; None: the part is not compiled.
Backend = str | Callable | None


def run_part(function: Callable, backend: Backend, modules: Iterable[nn.Module | None], *args: Any) -> Any:
    """``function(*args)``, compiled if there is a backend; a function is compiled once for each kind of arguments.

    Compiled code does not call hooks that were added after its compilation, such as those that record gates. So the
    function runs as it is while one of ``modules``, or a module within them, has a hook.
    """
    if backend is None or torch.compiler.is_compiling() or any(has_hooks(m) for m in modules if m is not None):
        return function(*args)
    return _compiled(function, backend)(*args)


def has_hooks(module: nn.Module) -> bool:
    """Whether the module, or one within it, has a hook of its forward or backward pass."""
    return any(
        m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks for m in module.modules()
    )


@lru_cache
def _compiled(function: Callable, backend: str | Callable) -> Callable:
    # Static shapes, because a canvas has one size and kernels of known sizes are faster.
    return torch.compile(function, backend=backend, fullgraph=True, dynamic=False)
