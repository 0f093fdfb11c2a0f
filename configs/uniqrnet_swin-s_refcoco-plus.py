"""UniQRNet with Swin-S on RefCOCO+ (unc): boxes and masks."""

_base_ = [
    './_base_/models/uniqrnet_swin-s.py',
    './_base_/datasets/refcoco-plus.py',
    './_base_/schedules/60e_cosine.py',
    './_base_/uniqrnet_runtime.py',
]

# To change: model.backbone.init_cfg.checkpoint=FILE, model.text_encoder.model=FOLDER, train_dataloader.batch_size=N

default_hooks = dict(checkpoint=dict(save_best=['refcoco+/val/mIoU', 'refcoco+/val/Acc@0.5'], rule='greater'))
