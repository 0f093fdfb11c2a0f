"""RefShapes at 64 pixels, made on first use under data/refshapes."""

# To change: train_dataloader.batch_size=N train_dataloader.num_workers=N; another folder for the data:
# train_dataloader.dataset.data_root=DIR val_dataloader.dataset.data_root=DIR test_dataloader.dataset.data_root=DIR
train_pipeline = [
    # All images and masks stay in memory.
    dict(
        type='PreparedOnce',
        keep=40000,
        transforms=[
            dict(type='LoadImageOnce', keep=8000, color_type='color_ignore_orientation'),
            dict(type='LoadReferAnnotations'),
            dict(type='ReferResize', scale=(64, 64), keep_ratio=True),
        ],
    ),
    dict(type='RandomFlipWithText', prob=0.5, words='all'),
    dict(type='PackReferInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='ReferResize', scale=(64, 64), keep_ratio=True),
    dict(type='PackReferInputs'),
]
dataset = dict(type='RefShapesDataset', data_root='data/refshapes')
train_dataloader = dict(
    batch_size=32,
    num_workers=0,  # with two cores, training is faster without workers
    persistent_workers=False,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(**dataset, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split='val', test_mode=True, pipeline=test_pipeline),
)
test_dataloader = dict(
    batch_size=64,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split=['val', 'testA', 'testB'], test_mode=True, pipeline=test_pipeline),
)
val_evaluator = dict(type='ReferringMetric')
test_evaluator = dict(type='ReferringMetric')
