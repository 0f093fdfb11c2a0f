"""For RefShapes: 5000 iterations, 200 of them warm-up, then a cosine."""

# To change: the highest and the last learning rate, optim_wrapper.optimizer.lr=X param_scheduler.1.eta_min=X;
# the length, train_cfg.max_iters=N param_scheduler.1.end=N param_scheduler.1.T_max=N, where T_max is 200 less.
optim_wrapper = dict(
    type='ClippingOptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-4, betas=(0.9, 0.98), fused=True),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=200),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=200, end=5000, T_max=4800, eta_min=1e-5),
]
train_cfg = dict(type='ResumableIterLoop', max_iters=5000, val_interval=1250)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=32)
