"""RefCOCOg (google) in REFER's layout, under data/refcocog (see docs/data.md)."""

_base_ = './refcoco.py'

# This split divides objects, not images: its val images are training images, too. It has no test split.
dataset = dict(ann_file='refcocog/instances.json', split_file='refcocog/refs(google).p', dataset_name='refcocog_google')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dict(**dataset, split='val'))
