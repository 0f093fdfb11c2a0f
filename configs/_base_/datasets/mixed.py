"""RefCOCO, RefCOCO+ and RefCOCOg (umd) together; no image of any val or test set is trained on."""

_base_ = './refcoco.py'

# data/exclude.json lists those images. It is made once from the refs files (see docs/recipes.md):
# python tools/dataset_tools/leakage.py --data-root data --out data/exclude.json
refcoco = dict(
    type='ReferDataset',
    data_root='data/',
    ann_file='refcoco/instances.json',
    split_file='refcoco/refs(unc).p',
    data_prefix=dict(img_path='coco/train2014/'),
    dataset_name='refcoco',
)
refcoco_plus = dict(
    refcoco, ann_file='refcoco+/instances.json', split_file='refcoco+/refs(unc).p', dataset_name='refcoco+'
)
refcocog = dict(
    refcoco, ann_file='refcocog/instances.json', split_file='refcocog/refs(umd).p', dataset_name='refcocog_umd'
)
train = dict(split='train', filter_cfg=dict(exclude_img_ids='exclude.json'), pipeline={{_base_.train_pipeline}})
test = dict(test_mode=True, pipeline={{_base_.test_pipeline}})
val = dict(test, split='val')
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[dict(**refcoco, **train), dict(**refcoco_plus, **train), dict(**refcocog, **train)],
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[dict(**refcoco, **val), dict(**refcoco_plus, **val), dict(**refcocog, **val)],
    )
)
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(refcoco, **test, split=['val', 'testA', 'testB']),
            dict(refcoco_plus, **test, split=['val', 'testA', 'testB']),
            dict(refcocog, **test, split=['val', 'test']),
        ],
    )
)
