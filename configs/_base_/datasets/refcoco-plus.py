"""RefCOCO+ (unc) in REFER's layout, under data/refcoco+ (see docs/data.md)."""

_base_ = './refcoco.py'

dataset = dict(ann_file='refcoco+/instances.json', split_file='refcoco+/refs(unc).p', dataset_name='refcoco+')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
