"""Mask R-CNN with Swin-S on COCO without the val and test images of RefCOCO, RefCOCO+ and RefCOCOg.

For the backbone of UniQRNet and QRNet: `pretrained` of their configs takes this run's checkpoint. The annotation file
is made by tools/dataset_tools/make_pretrain_annotations.py (see docs/recipes.md).
"""

_base_ = 'mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_ms-crop-3x_coco.py'

# What you may want to change ---------------------------------------------------------------------------------------
# Weights to start from: ImageNet-1k.
pretrained = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_small_patch4_window7_224.pth'
annotations = 'annotations/instances_train2014_without_refer.json'  # under data/coco/

train_dataloader = dict(dataset=dict(ann_file=annotations, data_prefix=dict(img='train2014/')))

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmuniqrnet.QRNetSwin',
        gated_stages=(),  # there is no text here, and gates that nothing passes through have no gradient
        embed_dims=96,
        depths=(2, 2, 18, 2),
        num_heads=(3, 6, 12, 24),
        window_size=7,
        drop_path_rate=0.2,
        with_cp=False,
        init_cfg=dict(type='Pretrained', checkpoint=pretrained),
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
