"""mmdet's Mask R-CNN with Swin-T on COCO without the val and test images of RefCOCO, RefCOCO+ and RefCOCOg."""

_base_ = ['mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_ms-crop-3x_coco.py', '../_base_/models/swin-t.py']

# UniQRNet and QRNet start from this run's checkpoint: model.backbone.init_cfg.checkpoint=FILE in their configs.
# To change: model.backbone.init_cfg.checkpoint=FILE, train_dataloader.dataset.ann_file=FILE

# Made by tools/dataset_tools/make_pretrain_annotations.py (see docs/recipes.md).
train_dataloader = dict(
    dataset=dict(ann_file='annotations/instances_train2014_without_refer.json', data_prefix=dict(img='train2014/'))
)

model = dict(
    # Without text the gates would have no gradient.
    backbone=dict(_delete_=True, type='mmuniqrnet.QRNetSwin', gated_stages=(), **_base_.swin),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
