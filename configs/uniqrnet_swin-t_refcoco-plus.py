"""UniQRNet with Swin-T on RefCOCO+ (unc): boxes and masks."""

_base_ = ['./_base_/default_runtime.py', './_base_/refcoco.py', './_base_/schedule.py', './_base_/uniqrnet.py']

# What you may want to change ---------------------------------------------------------------------------------------
# Weights that Swin starts from: a file or a URL. The published recipe takes a Mask R-CNN on COCO without the val and
# test images of RefCOCO/+/g (configs/pretrain/); ImageNet-1k, the default here, is no part of COCO.
pretrained = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_tiny_patch4_window7_224.pth'
text_model = 'bert-base-uncased'  # a Hugging Face name or a local folder

dataset = dict(ann_file='refcoco+/instances.json', split_file='refcoco+/refs(unc).p', dataset_name='refcoco+')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)

model = dict(
    text_encoder=dict(model=text_model),
    backbone=dict(depths=(2, 2, 6, 2), init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
)

param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[120], gamma=0.1)]
default_hooks = dict(checkpoint=dict(save_best='refcoco+/val/mIoU', rule='greater'))
