"""QRNet's augmentation for training, UniQRNet's, and what an image passes at test: 640 pixels."""

published_train_pipeline = [
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
# UniQRNet's differs in the words that forbid a crop or change a flip, and decodes an image once for expressions that
# follow each other, as with the sampler SameImageSampler.
train_pipeline = [
    dict(type='LoadImageOnce', color_type='color_ignore_orientation'),
    *(
        dict(step, words='all') if step['type'] in ('GuardedCrop', 'RandomFlipWithText') else step
        for step in published_train_pipeline[1:]
    ),
]
test_pipeline = [
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='ReferResize', scale=(640, 640), keep_ratio=True),
    dict(type='PackReferInputs'),
]
