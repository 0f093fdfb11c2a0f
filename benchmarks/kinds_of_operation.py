"""Time by kind of operation: on a CPU by operator, on a GPU by kernel."""

from collections import Counter
from collections.abc import Callable

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

OTHERS = 'elementwise and others'
# The first kind with a part that is in the operator's name counts.
OPERATORS = {
    'attention': ('scaled_dot_product', 'flash', '_efficient_attention', 'softmax'),
    'matrix products': ('mm', 'linear', 'convolution', 'matmul', 'cudnn'),
    'norms': ('layer_norm', 'group_norm'),
    'copies': ('copy', 'index', 'cat', 'pad', 'roll', 'im2col', 'col2im', 'fill', 'zero', 'clone', 'slice', 'stack'),
    'sums and pooling': ('sum', 'mean', 'max', 'pool', 'upsample'),
}
# The same for the names of kernels. Compiled kernels do the work of several kinds.
KERNELS = {
    'compiled': ('triton_',),
    'attention': ('fmha', 'flash', 'attention', 'softmax'),
    'matrix products': ('gemm', 'gemv', 'nvjet', 'cutlass', 'cublas', 'cudnn', 'xmma', 'conv', 'splitk', 'dot_kernel'),
    'norms': ('layer_norm', 'layernorm', 'gammabeta', 'group_norm'),
    'copies': ('copy', 'index', 'cat', 'pad', 'roll', 'im2col', 'col2im', 'fill', 'gather', 'scatter', 'mem'),
    'sums and pooling': ('reduce', 'pool', 'upsample'),
}


def kinds_of(step: Callable[[], None], device: str) -> tuple[dict[str, float], list[tuple[str, int, float]]]:
    """Milliseconds of one step by kind; and the longest operators or kernels: name, number of calls, milliseconds."""
    gpu = device == 'cuda'
    with profile(activities=[ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if gpu else [])) as run:
        step()
        if gpu:
            torch.cuda.synchronize()
    spent: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    if gpu:
        # Kernels, not operators: compiled kernels and those of CUDA graphs belong to no operator.
        for event in run.events():
            if event.device_type == DeviceType.CUDA and not event.is_user_annotation:
                spent[event.name] += event.time_range.elapsed_us() / 1e3
                calls[event.name] += 1
    else:
        for event in run.key_averages():
            if event.key.startswith('aten::'):
                spent[event.key] += event.self_cpu_time_total / 1e3
                calls[event.key] += event.count
    kinds = KERNELS if gpu else OPERATORS
    times: dict[str, float] = dict.fromkeys([*kinds, OTHERS], 0.0)
    for name, ms in spent.items():
        times[next((k for k, parts in kinds.items() if any(p in name.lower() for p in parts)), OTHERS)] += ms
    times['sum'] = sum(spent.values())
    return times, [(name[:120], calls[name], ms) for name, ms in spent.most_common(25)]
