# Rarely changed: RefCOCO (unc) in REFER's layout, under data/refcoco (see docs/data.md), and QRNet's augmentation.
# Another set in this layout is three entries on top: ann_file, split_file, dataset_name.
dataset_type = 'ReferDataset'
data_root = 'data/'
image_prefix = dict(img_path='coco/train2014/')

train_pipeline = [
    # The annotations refer to the stored pixels, so no EXIF rotation.
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='LoadReferAnnotations'),
    # Not mmdet's PhotoMetricDistortion: it exchanges colour channels, and the red shirt would be blue.
    dict(
        type='RandomApply',
        prob=0.8,
        transforms=[
            dict(type='mmdet.Brightness', min_mag=0.6, max_mag=1.4),
            dict(type='mmdet.Contrast', min_mag=0.6, max_mag=1.4),
            dict(type='mmdet.Color', min_mag=0.6, max_mag=1.4),
        ],
    ),
    dict(type='GuardedCrop', prob=0.5, short_sides=(400, 500, 600), crop_size=(384, 600)),
    dict(
        type='RandomChoiceResize',
        resize_type='ReferResize',
        scales=[(s, s) for s in range(448, 641, 32)],
        keep_ratio=True,
    ),
    dict(type='RandomFlipWithText', prob=0.5),
    dict(type='PackReferInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='ReferResize', scale=(640, 640), keep_ratio=True),
    dict(type='PackReferInputs'),
]
dataset = dict(
    type=dataset_type,
    data_root=data_root,
    ann_file='refcoco/instances.json',
    split_file='refcoco/refs(unc).p',
    data_prefix=image_prefix,
    dataset_name='refcoco',
)
train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split='val', test_mode=True, pipeline=test_pipeline),
)
test_dataloader = dict(
    batch_size=16,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split=['val', 'testA', 'testB'], test_mode=True, pipeline=test_pipeline),
)
val_evaluator = dict(type='ReferringMetric')
test_evaluator = dict(type='ReferringMetric')
