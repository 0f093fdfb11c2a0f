"""QRNet (CVPR 2022) with Swin-S on RefCOCO (unc): boxes only, the network as published."""

_base_ = [
    './_base_/models/uniqrnet_swin-s.py',
    './_base_/datasets/refcoco.py',
    './_base_/schedules/180e_drop-60.py',
    './_base_/default_runtime.py',
]

# To change: model.backbone.init_cfg.checkpoint=FILE, model.text_encoder.model=FOLDER, train_dataloader.batch_size=N

model = dict(
    data_preprocessor=dict(share_images=False),
    # The gates as published.
    backbone=dict(gate_norm=False, gate_limit=None, gate_output='before_norm'),
    neck=dict(gate_norm=False, gate_limit=None),
    # What is not QRNet's.
    head=dict(
        box_branch=dict(sees_reference=False),
        mask_branch=None,
        score_branch=None,
        pixel_guidance=None,
        loss_mask_bce=None,
        loss_mask_dice=None,
        loss_aux=None,
        loss_score=None,
        box_from_mask=False,
        deep_supervision=False,
    ),
)
train_dataloader = dict(dataset=dict(pipeline={{_base_.published_train_pipeline}}))
custom_hooks = []  # one task needs no balance
default_hooks = dict(checkpoint=dict(save_best='refcoco/val/Acc@0.5', rule='greater'))
