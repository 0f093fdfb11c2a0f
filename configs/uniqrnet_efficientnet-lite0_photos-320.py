"""The last part of the training of uniqrnet_efficientnet-lite0_photos.py, at 320 pixels."""

# It starts from the weights of the part before, load_from=CHECKPOINT; tools/photos.py sets this.
# To change: the length, train_cfg.max_iters=N param_scheduler.1.end=N param_scheduler.1.T_max=N, where T_max is 100
# less; train_dataloader.batch_size=N, optim_wrapper.optimizer.lr=X

_base_ = './uniqrnet_efficientnet-lite0_photos.py'

size = (320, 320)
train_pipeline = [
    dict(
        type='PreparedOnce',
        keep=60000,
        transforms=[
            dict(type='LoadImageOnce', color_type='color_ignore_orientation'),
            dict(type='LoadReferAnnotations'),
            dict(type='ReferResize', scale=size, keep_ratio=True),
        ],
    ),
    {{_base_.color_jitter}},
    {{_base_.flip}},
    dict(type='PackReferInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='ReferResize', scale=size, keep_ratio=True),
    dict(type='PackReferInputs'),
]
photos = dict(type='ReferJsonlDataset', data_root='data/photos/', data_prefix=dict(img_path='images/'))
mosaics = dict(photos, data_prefix=dict(img_path='mosaics/images/'))
held_out = dict(photos, split='val', test_mode=True, pipeline=test_pipeline)

model = dict(data_preprocessor=dict(canvas_size=size[0]))
train_dataloader = dict(
    dataset=dict(
        datasets=[
            dict(photos, ann_file='train.jsonl', pipeline=train_pipeline),
            dict(mosaics, ann_file='mosaics.jsonl', pipeline=train_pipeline),
        ]
    )
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(
    dataset=dict(
        datasets=[
            dict(held_out, ann_file='val.jsonl', dataset_name='photos'),
            # of objects that share their photograph with another one of their category
            dict(held_out, ann_file='val_several.jsonl', dataset_name='photos_several'),
        ]
    )
)
optim_wrapper = dict(optimizer=dict(lr=2e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=100, end=1300, T_max=1200, eta_min=2e-6),
]
train_cfg = dict(max_iters=1300, val_interval=650)
