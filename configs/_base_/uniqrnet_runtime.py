"""The runtime of UniQRNet's own recipe: the default one, averaged weights, TF32, and a seed for each rank."""

_base_ = './default_runtime.py'

# To change: how slowly the average follows, default_hooks.ema.momentum=X (about the last 1 / X steps count); what a
# loss that is not finite does, default_hooks.check_loss.action=skip; the seed, randomness.seed=N.
# Each is switched off by one option: default_hooks.ema=None, default_hooks.matmul_precision=None,
# env_cfg.cudnn_benchmark=False, randomness.diff_rank_seed=False.
default_hooks = dict(
    check_loss=dict(delay=1),  # a GPU does not wait for the host; with a fused optimiser
    # Validation, test and publishing take the averaged weights; the first steps count less than the later ones.
    ema=dict(
        type='EMAHook', ema_type='mmuniqrnet.FastExpMomentumEMA', momentum=0.0002, gamma=2000, update_buffers=True
    ),
    matmul_precision=dict(type='MatmulPrecisionHook', precision='high'),  # TF32 where a GPU computes in float32
)
env_cfg = dict(cudnn_benchmark=True)  # the canvas is of one size
# Without it, all ranks would draw the same places on the canvas and the same dropout.
randomness = dict(seed=None, diff_rank_seed=True)
