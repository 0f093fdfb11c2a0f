"""UniQRNet's segmentation-only variant with Swin-S on RefCOCO (unc): masks, no boxes."""

_base_ = [
    './_base_/models/uniqrnet_swin-s.py',
    './_base_/datasets/refcoco.py',
    './_base_/schedules/60e_cosine.py',
    './_base_/uniqrnet_runtime.py',
]

# To change: model.backbone.init_cfg.checkpoint=FILE, model.text_encoder.model=FOLDER, train_dataloader.batch_size=N

model = dict(head=dict(box_branch=None, loss_box_l1=None, loss_box_giou=None, box_from_mask=False))
custom_hooks = []  # one task needs no balance
default_hooks = dict(checkpoint=dict(save_best='refcoco/val/mIoU', rule='greater'))
