"""UniQRNet's own recipe: 60 epochs, one of them warm-up, then a cosine; clipped gradients, bfloat16 where there is."""

_base_ = './adamw.py'

# To change: the length, train_cfg.max_epochs=N param_scheduler.1.end=N param_scheduler.1.T_max=N, where T_max is one
# less; the highest learning rate, optim_wrapper.optimizer.lr=X, and the share of it that is left at the end,
# param_scheduler.1.eta_min_ratio=X; the largest norm of the gradient, optim_wrapper.clip_grad.max_norm=X.
# To train in float32, optim_wrapper.type=OptimWrapper; not to clip, optim_wrapper.clip_grad=None.
optim_wrapper = dict(
    type='Bf16OptimWrapper',  # bfloat16 on a GPU that has it, float32 elsewhere
    constructor='LoadedLrOptimWrapperConstructor',  # the full learning rate for what no checkpoint filled
    clip_grad=dict(max_norm=1.0),
    optimizer=dict(fused=True),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, begin=0, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, begin=1, end=60, T_max=59, convert_to_iter_based=True),
]
train_cfg = dict(type='ResumableEpochLoop', max_epochs=60, val_interval=2)
