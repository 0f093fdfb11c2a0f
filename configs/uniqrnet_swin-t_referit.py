"""UniQRNet with Swin-T on ReferItGame: boxes and masks."""

_base_ = [
    './_base_/models/uniqrnet_swin-t.py',
    './_base_/datasets/referit.py',
    './_base_/schedules/60e_cosine.py',
    './_base_/uniqrnet_runtime.py',
]

# To change: model.backbone.init_cfg.checkpoint=FILE, model.text_encoder.model=FOLDER, train_dataloader.batch_size=N

# 8 GPUs x 8.
train_dataloader = dict(batch_size=8)
auto_scale_lr = dict(base_batch_size=64)
default_hooks = dict(checkpoint=dict(save_best=['referit/val/mIoU', 'referit/val/Acc@0.5'], rule='greater'))
