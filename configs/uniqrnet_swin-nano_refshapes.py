"""UniQRNet at its smallest, on RefShapes: learns boxes and masks on two CPU cores in 15 to 25 minutes."""

_base_ = [
    './_base_/models/uniqrnet_swin-nano.py',
    './_base_/datasets/refshapes.py',
    './_base_/schedules/5k-iters.py',
    './_base_/default_runtime.py',
]

# To change: train_dataloader.batch_size=N, optim_wrapper.optimizer.lr=X, randomness.seed=N
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=300, max_keep_ckpts=1, save_best='refshapes/val/mIoU', rule='greater'),
)
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
