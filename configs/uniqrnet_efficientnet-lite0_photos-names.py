"""The first part of the training of uniqrnet_efficientnet-lite0_photos.py: names, no expressions for one object."""

# The expressions are names and plurals, each for all objects of a category on its photograph; where they have no masks,
# their boxes are filled.
# To change: the length, train_cfg.max_iters=N param_scheduler.1.end=N param_scheduler.1.T_max=N, where T_max is 100
# less

_base_ = './uniqrnet_efficientnet-lite0_photos.py'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ReferJsonlDataset',
        data_root='data/photos/',
        ann_file='names.jsonl',
        data_prefix=dict(img_path='images/'),
        pipeline={{_base_.train_pipeline}},
    )
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=100, end=800, T_max=700, eta_min=1e-4),
]
train_cfg = dict(max_iters=800, val_interval=800)
