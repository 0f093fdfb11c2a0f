"""Corrected labels: RefCOCO-M, Ref-L4, and RefCOCO/+/g without the expressions marked wrong, in one test loader."""

_base_ = './pipelines_640.py'

# To change: test_dataloader.batch_size=N
# mmuniqrnet get refcoco-m and mmuniqrnet get ref-l4 write data/refcoco-m and data/ref-l4 (see docs/data.md).
test = dict(test_mode=True, pipeline={{_base_.test_pipeline}})
coco = dict(data_root='data/', data_prefix=dict(img_path='coco/train2014/'))
reviewed = dict(type='ReviewedReferDataset', **coco, **test)
unc_splits = ['val', 'testA', 'testB']
corrected_sets = [
    dict(type='RefCOCOMDataset', ann_file='refcoco-m', **coco, **test),
    dict(
        type='RefL4Dataset',
        data_root='data/ref-l4/',
        data_prefix=dict(img_path='images/'),
        split=['val', 'test'],
        **test,
    ),
    dict(
        reviewed,
        ann_file='refcoco/instances.json',
        split_file='refcoco/refs(unc).p',
        review_file='ref-l4/refcocos_annotation_reviewed/refcoco_{split}_reviewed.json',
        dataset_name='refcoco_reviewed',
        split=unc_splits,
    ),
    dict(
        reviewed,
        ann_file='refcoco+/instances.json',
        split_file='refcoco+/refs(unc).p',
        review_file='ref-l4/refcocos_annotation_reviewed/refcoco+_{split}_reviewed.json',
        dataset_name='refcoco+_reviewed',
        split=unc_splits,
    ),
    dict(
        reviewed,
        ann_file='refcocog/instances.json',
        split_file='refcocog/refs(umd).p',
        review_file='ref-l4/refcocos_annotation_reviewed/refcocog_{split}_reviewed.json',
        dataset_name='refcocog_umd_reviewed',
        split=['val', 'test'],
    ),
]
test_dataloader = dict(
    batch_size=16,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ConcatDataset', datasets=corrected_sets),
)
test_evaluator = dict(type='ReferringMetric')
test_cfg = dict()
