"""UniQRNet on RefCOCO (unc) with a ResNet-50 of mmdet, whose stages are gated by the text as those of Swin are."""

_base_ = [
    './_base_/models/uniqrnet.py',
    './_base_/datasets/refcoco.py',
    './_base_/schedules/60e_cosine.py',
    './_base_/uniqrnet_runtime.py',
]

# To change: model.backbone.body.init_cfg.checkpoint=FILE, model.text_encoder.model=FOLDER,
# train_dataloader.batch_size=N. Another backbone is another model.backbone.body: docs/composition.md.

channels = (256, 512, 1024, 2048)
model = dict(
    backbone=dict(
        _delete_=True,
        type='QueryModulated',
        text_dim=768,
        gate_norm=True,
        gate_limit=4.0,
        gate_output='after_norm',
        body=dict(
            type='mmdet.ResNet',
            depth=50,
            frozen_stages=1,
            norm_eval=True,
            # ImageNet-1k, which is no part of COCO.
            init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
        ),
    ),
    neck=dict(in_channels=channels),
    head=dict(pixel_guidance=dict(backbone_channels=channels)),
)
default_hooks = dict(checkpoint=dict(save_best=['refcoco/val/mIoU', 'refcoco/val/Acc@0.5'], rule='greater'))
