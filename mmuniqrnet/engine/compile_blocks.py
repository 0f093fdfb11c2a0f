"""Compilation of the parts of a network: each kind of block is compiled once, for all its repetitions."""

from collections.abc import Callable

import torch
import torch._functorch.config
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.utils import digit_version
from torch import nn

from mmuniqrnet.models.backbones import QRNetSwin
from mmuniqrnet.models.encoders.visual_linguistic_encoder import EncoderLayer
from mmuniqrnet.models.layers.swin_block import WindowBlock
from mmuniqrnet.models.necks import QueryAwareFusion
from mmuniqrnet.registry import HOOKS
from mmuniqrnet.utils.errors import UserError

# Modules that are compiled as they are, and those that compile a part of themselves.
KINDS = (WindowBlock, EncoderLayer)
KINDS_WITH_PARTS = (QRNetSwin, QueryAwareFusion)
# The tests pass with 2.11 and 2.13. Torch 2.6 and 2.8 break the graph in the norms; 2.9 and 2.10 were not tried.
OLDEST_TORCH = '2.11'


def compile_blocks(model: nn.Module, backend: str | Callable = 'inductor') -> list[nn.Module]:
    """Let ``QRNetSwin``, ``QueryAwareFusion`` and the layers of ``VisualLinguisticEncoder`` be compiled in parts.

    The parts are compiled at their first call, for training and for inference separately:

    - the blocks of the backbone: those of one width, map size and shift share one compilation, so the 24 blocks of
      Swin-S, of 8 kinds, are compiled 8 times;
    - its patch embedding, and the end of each stage (gate, norm and patch merging);
    - the neck as a whole;
    - the layers of the encoder, which are of one kind.

    The modules and the names of their parameters stay as they are, so that checkpoints, averaged weights and exports
    do not change. The end of a stage and the neck run as they are while their modules have hooks, which record gates.

    Args:
        model: The network, or a part of it.
        backend: A backend of ``torch.compile``.

    Returns:
        The modules that are compiled, or have parts that are.

    Raises:
        UserError: Torch is too old.
    """
    require_torch()
    blocks = [module for module in model.modules() if isinstance(module, KINDS)]
    with_parts = [module for module in model.modules() if isinstance(module, KINDS_WITH_PARTS)]
    drops = any(isinstance(block, WindowBlock) and block.drop_rate > 0 for block in blocks)
    for block in blocks:
        if isinstance(block, WindowBlock) and drops:
            block.share_drop_path()
        # Static shapes, because a canvas has one size and kernels of known sizes are faster.
        block.compile(backend=backend, fullgraph=True, dynamic=False)
    for module in with_parts:
        module.compile_backend = backend
        if isinstance(module, QRNetSwin):
            module.patch_embed.compile(backend=backend, fullgraph=True, dynamic=False)
    # Each kind counts as a recompilation of the same code. Torch's limit of 8 would leave further kinds uncompiled.
    # torch < 2.7 has it under another name
    limit = 'recompile_limit' if hasattr(torch._dynamo.config, 'recompile_limit') else 'cache_size_limit'
    setattr(torch._dynamo.config, limit, max(getattr(torch._dynamo.config, limit), 64))
    keep_less()
    return blocks + with_parts


def require_torch() -> None:
    if digit_version(torch.__version__) < digit_version(OLDEST_TORCH):
        raise UserError(f'compile_blocks and CompileBlocksHook need torch {OLDEST_TORCH}; this is {torch.__version__}.')


def keep_less() -> None:
    """Let compiled code, of the whole process, compute results of cheap operations again in the backward pass.

    By default it keeps the result of GELU and of the norms for the backward pass, because products read them, and so
    keeps more of a block. With a budget below 1, results that need no matrix product are computed again. With a much
    smaller budget, matrix products would be computed again, too.
    """
    torch._functorch.config.activation_memory_budget = min(torch._functorch.config.activation_memory_budget, 0.99)


@HOOKS.register_module()
class CompileBlocksHook(Hook):
    """Compiles the network's parts for training, see :func:`compile_blocks`; validation and test are not compiled.

    One line of a config, or one option: ``--cfg-options default_hooks.compile.type=CompileBlocksHook``. The first
    iteration is slow; torch keeps the compiled code on the disk, so later runs begin sooner. In validation, whose last
    batch may have another size, the parts run as without this hook. Numbers agree with those of an uncompiled training
    up to rounding; drop path and dropout draw other random numbers. Torch's ``activation_memory_budget`` is set for the
    whole process, see :func:`keep_less`.

    Args:
        backend: The backend of ``torch.compile``.

    Raises:
        UserError: Torch is too old, has no such backend, the model has nothing to compile, it shares images
            (``share_images`` of its data preprocessor), or the config sets mmengine's ``compile`` as well.
    """

    def __init__(self, backend: str = 'inductor') -> None:
        require_torch()
        known = torch.compiler.list_backends(exclude_tags=())
        if backend not in known:
            raise UserError(f'CompileBlocksHook: torch has no backend {backend!r}; it has {", ".join(known)}.')
        self.backend = backend

    def before_train(self, runner: Runner) -> None:
        if runner.cfg.get('compile'):
            raise UserError(
                "CompileBlocksHook compiles parts of the model, and the config's compile=... the whole model: remove "
                'one of them.'
            )
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if getattr(getattr(model, 'data_preprocessor', None), 'share_images', False):
            raise UserError(
                'CompileBlocksHook compiles for one batch size, but with share_images the number of distinct images '
                'changes from batch to batch; set model.data_preprocessor.share_images=False.'
            )
        blocks = compile_blocks(model, self.backend)
        if not blocks:
            kinds = ' or '.join(kind.__name__ for kind in KINDS + KINDS_WITH_PARTS)
            raise UserError(f'CompileBlocksHook: {type(model).__name__} has no {kinds} to compile; remove the hook.')
        runner.logger.info(f'{len(blocks)} modules are compiled, or have compiled parts; the first iteration is slow.')

    def before_val(self, runner: Runner) -> None:
        torch.compiler.set_stance('force_eager')

    def after_val(self, runner: Runner) -> None:
        torch.compiler.set_stance('default')
