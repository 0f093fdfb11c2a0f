"""UniQRNet with Swin-S on RefCOCO (unc), its mask branch mmseg's FPNHead."""

_base_ = ['./_base_/default_runtime.py', './_base_/refcoco.py', './_base_/schedule.py', './_base_/uniqrnet.py']

# What you may want to change ---------------------------------------------------------------------------------------
# Weights that Swin starts from: a file or a URL. The published recipe takes a Mask R-CNN on COCO without the val and
# test images of RefCOCO/+/g (configs/pretrain/); ImageNet-1k, the default here, is no part of COCO.
pretrained = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_small_patch4_window7_224.pth'
text_model = 'bert-base-uncased'  # a Hugging Face name or a local folder
# Any decode head of mmseg that ends in conv_seg. It reads the neck's levels (strides 4 to 64, 256 channels each) and
# has neither losses nor classes of its own here. Group norm, for it also works where a GPU has few images.
decode_head = dict(
    type='mmseg.FPNHead',
    in_channels=[256, 256, 256, 256],
    in_index=[0, 1, 2, 3],
    feature_strides=[4, 8, 16, 32],
    channels=128,
    dropout_ratio=0.1,
    norm_cfg=dict(type='GN', num_groups=32),
)

model = dict(
    text_encoder=dict(model=text_model),
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    head=dict(
        mask_branch=dict(
            _delete_=True, type='DecodeHeadMaskBranch', embed_dims=256, in_channels=256, decode_head=decode_head
        )
    ),
)

default_hooks = dict(checkpoint=dict(save_best='refcoco/val/mIoU', rule='greater'))
