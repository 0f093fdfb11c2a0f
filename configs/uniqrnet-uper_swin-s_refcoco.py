"""UniQRNet with Swin-S on RefCOCO (unc), its mask branch mmseg's UPerHead."""

_base_ = [
    './_base_/models/uniqrnet_swin-s.py',
    './_base_/datasets/refcoco.py',
    './_base_/schedules/60e_cosine.py',
    './_base_/uniqrnet_runtime.py',
]

# To change: model.backbone.init_cfg.checkpoint=FILE, model.text_encoder.model=FOLDER, train_dataloader.batch_size=N

model = dict(
    head=dict(
        deep_supervision=False,  # the decode head would run after every layer
        mask_branch=dict(
            _delete_=True,
            type='DecodeHeadMaskBranch',
            embed_dims=256,
            in_channels=256,
            # Any decode head of mmseg that ends in conv_seg; its own losses and classes are not used. It reads the
            # neck's levels (strides 4 to 64, 256 channels each). Group norm also works where a GPU has few images.
            decode_head=dict(
                type='mmseg.UPerHead',
                in_channels=[256, 256, 256, 256],
                in_index=[0, 1, 2, 3],
                pool_scales=(1, 2, 3, 6),
                channels=512,
                dropout_ratio=0.1,
                norm_cfg=dict(type='GN', num_groups=32),
            ),
        ),
    )
)
default_hooks = dict(checkpoint=dict(save_best=['refcoco/val/mIoU', 'refcoco/val/Acc@0.5'], rule='greater'))
