"""UniQRNet with Swin-B on RefCOCOg (umd): boxes and masks."""

_base_ = ['./_base_/default_runtime.py', './_base_/refcoco.py', './_base_/schedule.py', './_base_/uniqrnet.py']

# What you may want to change ---------------------------------------------------------------------------------------
# Weights that Swin starts from: a file or a URL. The published recipe takes a Mask R-CNN on COCO without the val and
# test images of RefCOCO/+/g (configs/pretrain/); ImageNet-22k, the default here, is no part of COCO.
pretrained = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_base_patch4_window7_224_22k.pth'
text_model = 'bert-base-uncased'  # a Hugging Face name or a local folder
num_tokens = 40  # [CLS] and [SEP] included; expressions are longer here than in RefCOCO

dataset = dict(ann_file='refcocog/instances.json', split_file='refcocog/refs(umd).p', dataset_name='refcocog_umd')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dict(**dataset, split=['val', 'test']))

channels = (128, 256, 512, 1024)
model = dict(
    text_encoder=dict(model=text_model, max_length=num_tokens),
    backbone=dict(
        embed_dims=128,
        depths=(2, 2, 18, 2),
        num_heads=(4, 8, 16, 32),
        init_cfg=dict(type='Pretrained', checkpoint=pretrained),
    ),
    neck=dict(in_channels=channels),
    head=dict(encoder=dict(num_text_tokens=num_tokens), pixel_guidance=dict(backbone_channels=channels)),
)

default_hooks = dict(checkpoint=dict(save_best='refcocog_umd/val/mIoU', rule='greater'))
