"""A small UniQRNet for photographs, trained on expressions that were made from annotations; tools/photos.py runs it."""

_base_ = [
    './_base_/models/uniqrnet_efficientnet-lite0.py',
    './_base_/datasets/photos.py',
    './_base_/default_runtime.py',
]

# To change: the length, train_cfg.max_iters=N param_scheduler.1.end=N param_scheduler.1.T_max=N, where T_max is 100
# less; train_dataloader.batch_size=N, optim_wrapper.optimizer.lr=X, randomness.seed=N
optim_wrapper = dict(
    type='Bf16OptimWrapper',  # float32 where no GPU computes in bfloat16
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay=1e-4, betas=(0.9, 0.98), fused=True),
    clip_grad=dict(max_norm=1.0),
    # What comes pre-trained learns more slowly.
    paramwise_cfg=dict(custom_keys={'backbone.body': dict(lr_mult=0.4), 'text_encoder': dict(lr_mult=0.2)}),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=100, end=3400, T_max=3300, eta_min=1e-5),
]
train_cfg = dict(type='ResumableIterLoop', max_iters=3400, val_interval=850)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=100, max_keep_ckpts=1, save_best='photos/val/Acc@0.5', rule='greater'),
)
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
