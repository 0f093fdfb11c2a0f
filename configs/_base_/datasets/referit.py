"""ReferItGame with SAIAPR's masks, under data/referit (see docs/data.md)."""

_base_ = './refcoco.py'

# masks/ holds SAIAPR's {image}_{region}.mat files in one folder. To change:
# train_dataloader.dataset.data_prefix.mask_path=DIR val_dataloader.dataset.data_prefix.mask_path=DIR
# test_dataloader.dataset.data_prefix.mask_path=DIR
dataset = dict(
    _delete_=True,
    type='ReferItDataset',
    data_root='data/referit/',
    data_prefix=dict(img_path='images/', mask_path='masks/'),
)
train_dataloader = dict(dataset=dict(**dataset, split='train', pipeline={{_base_.train_pipeline}}))
val_dataloader = dict(dataset=dict(**dataset, split='val', test_mode=True, pipeline={{_base_.test_pipeline}}))
test_dataloader = dict(dataset=dict(**dataset, split='test', test_mode=True, pipeline={{_base_.test_pipeline}}))
