"""RefCOCO (unc) in REFER's layout, under data/refcoco (see docs/data.md)."""

_base_ = './pipelines_640.py'

# To change: train_dataloader.batch_size=N; another folder for the data:
# train_dataloader.dataset.data_root=DIR val_dataloader.dataset.data_root=DIR test_dataloader.dataset.data_root=DIR
dataset = dict(
    type='ReferDataset',
    data_root='data/',
    ann_file='refcoco/instances.json',
    split_file='refcoco/refs(unc).p',
    data_prefix=dict(img_path='coco/train2014/'),
    dataset_name='refcoco',
)
train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, split='train', pipeline={{_base_.train_pipeline}}),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split='val', test_mode=True, pipeline={{_base_.test_pipeline}}),
)
test_dataloader = dict(
    batch_size=16,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split=['val', 'testA', 'testB'], test_mode=True, pipeline={{_base_.test_pipeline}}),
)
val_evaluator = dict(type='ReferringMetric')
test_evaluator = dict(type='ReferringMetric')
