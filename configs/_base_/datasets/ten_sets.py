"""The ten evaluation sets of the literature in one test loader."""

_base_ = './pipelines_640.py'

# To change: test_dataloader.batch_size=N
# ReferItGame is counted by its boxes, so that its masks need not be there.
refer = dict(
    type='ReferDataset',
    data_root='data/',
    data_prefix=dict(img_path='coco/train2014/'),
    test_mode=True,
    pipeline={{_base_.test_pipeline}},
)
unc_splits = ['val', 'testA', 'testB']
ten_sets = [
    dict(
        refer,
        ann_file='refcoco/instances.json',
        split_file='refcoco/refs(unc).p',
        dataset_name='refcoco',
        split=unc_splits,
    ),
    dict(
        refer,
        ann_file='refcoco+/instances.json',
        split_file='refcoco+/refs(unc).p',
        dataset_name='refcoco+',
        split=unc_splits,
    ),
    dict(
        refer,
        ann_file='refcocog/instances.json',
        split_file='refcocog/refs(umd).p',
        dataset_name='refcocog_umd',
        split=['val', 'test'],
    ),
    # The names must differ: both have a split called val, with other expressions.
    dict(
        refer,
        ann_file='refcocog/instances.json',
        split_file='refcocog/refs(google).p',
        dataset_name='refcocog_google',
        split='val',
    ),
    dict(
        type='ReferItDataset',
        data_root='data/referit/',
        data_prefix=dict(img_path='images/'),
        split='test',
        test_mode=True,
        pipeline={{_base_.test_pipeline}},
    ),
]
test_dataloader = dict(
    batch_size=16,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ConcatDataset', datasets=ten_sets),
)
test_evaluator = dict(type='ReferringMetric')
test_cfg = dict()
