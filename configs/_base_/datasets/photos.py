"""Expressions that `mmuniqrnet describe` made from annotated photographs, and from mosaics of them, at 256 pixels."""

# tools/photos.py writes the files.
# To change: train_dataloader.batch_size=N; the number of expressions of an image in a row, which share what is computed
# before the first gate, train_dataloader.sampler.group_size=N.
color_jitter = dict(
    type='RandomApply',
    prob=0.8,
    transforms=[
        dict(type='mmdet.Brightness', min_mag=0.6, max_mag=1.4),
        dict(type='mmdet.Contrast', min_mag=0.6, max_mag=1.4),
        dict(type='mmdet.Color', min_mag=0.6, max_mag=1.4),
    ],
)
flip = dict(type='RandomFlipWithText', prob=0.5, words='all')
train_pipeline = [
    # All images and masks stay in memory, at the size in which they are used.
    dict(
        type='PreparedOnce',
        keep=60000,
        transforms=[
            dict(type='LoadImageOnce', color_type='color_ignore_orientation'),
            dict(type='LoadReferAnnotations'),
            dict(type='ReferResize', scale=(256, 256), keep_ratio=True),
        ],
    ),
    color_jitter,
    flip,
    dict(type='PackReferInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='ReferResize', scale=(256, 256), keep_ratio=True),
    dict(type='PackReferInputs'),
]
photos = dict(type='ReferJsonlDataset', data_root='data/photos/', data_prefix=dict(img_path='images/'))
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='SameImageSampler', group_size=4, one_view=True),
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(photos, ann_file='train.jsonl', pipeline=train_pipeline),
            dict(
                photos,
                ann_file='mosaics.jsonl',
                data_prefix=dict(img_path='mosaics/images/'),
                pipeline=train_pipeline,
            ),
        ],
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        photos, ann_file='val.jsonl', split='val', dataset_name='photos', test_mode=True, pipeline=test_pipeline
    ),
)
test_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dict(
                photos, ann_file='val.jsonl', split='val', dataset_name='photos', test_mode=True, pipeline=test_pipeline
            ),
            # of objects that share their photograph with another one of their category
            dict(
                photos,
                ann_file='val_several.jsonl',
                split='val',
                dataset_name='photos_several',
                test_mode=True,
                pipeline=test_pipeline,
            ),
        ],
    ),
)
val_evaluator = dict(type='ReferringMetric')
test_evaluator = dict(type='ReferringMetric')
