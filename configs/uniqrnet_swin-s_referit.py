"""UniQRNet with Swin-S on ReferItGame: boxes and masks."""

_base_ = ['./_base_/default_runtime.py', './_base_/refcoco.py', './_base_/schedule.py', './_base_/uniqrnet.py']

# What you may want to change ---------------------------------------------------------------------------------------
# Weights that Swin starts from: a file or a URL. The published recipe takes a Mask R-CNN on COCO without the val and
# test images of RefCOCO/+/g (configs/pretrain/); ImageNet-1k, the default here, is no part of COCO.
pretrained = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_small_patch4_window7_224.pth'
text_model = 'bert-base-uncased'  # a Hugging Face name or a local folder
masks = 'masks/'  # SAIAPR's {image}_{region}.mat files, in one folder (see docs/data.md)

dataset = dict(
    _delete_=True,
    type='ReferItDataset',
    data_root='data/referit/',
    data_prefix=dict(img_path='images/', mask_path=masks),
)
train_dataloader = dict(batch_size=8, dataset=dict(**dataset, split='train', pipeline={{_base_.train_pipeline}}))
val_dataloader = dict(dataset=dict(**dataset, split='val', test_mode=True, pipeline={{_base_.test_pipeline}}))
test_dataloader = dict(dataset=dict(**dataset, split='test', test_mode=True, pipeline={{_base_.test_pipeline}}))

model = dict(
    text_encoder=dict(model=text_model), backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=pretrained))
)

# The learning rate is for 8 GPUs x 8.
auto_scale_lr = dict(base_batch_size=64)
default_hooks = dict(checkpoint=dict(save_best='referit/val/mIoU', rule='greater'))
