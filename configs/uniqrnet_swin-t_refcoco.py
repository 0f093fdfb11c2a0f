"""UniQRNet with Swin-T on RefCOCO (unc): boxes and masks."""

_base_ = [
    './_base_/models/uniqrnet_swin-t.py',
    './_base_/datasets/refcoco.py',
    './_base_/schedules/60e_cosine.py',
    './_base_/uniqrnet_runtime.py',
]

# To change: model.backbone.init_cfg.checkpoint=FILE, model.text_encoder.model=FOLDER, train_dataloader.batch_size=N

default_hooks = dict(checkpoint=dict(save_best=['refcoco/val/mIoU', 'refcoco/val/Acc@0.5'], rule='greater'))
