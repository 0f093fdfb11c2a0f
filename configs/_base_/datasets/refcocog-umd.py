"""RefCOCOg (umd) in REFER's layout, under data/refcocog (see docs/data.md)."""

_base_ = './refcoco.py'

dataset = dict(ann_file='refcocog/instances.json', split_file='refcocog/refs(umd).p', dataset_name='refcocog_umd')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dict(**dataset, split=['val', 'test']))
