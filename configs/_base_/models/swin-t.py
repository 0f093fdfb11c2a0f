"""Size and first weights of Swin-T, for the models and for configs/pretrain/."""

# The bases copy this into model.backbone: set options there, not here.
swin = dict(
    embed_dims=96,
    depths=(2, 2, 6, 2),
    num_heads=(3, 6, 12, 24),
    window_size=7,
    drop_path_rate=0.2,
    with_cp=False,
    # ImageNet-1k, which is no part of COCO.
    init_cfg=dict(
        type='Pretrained',
        checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_tiny_patch4_window7_224.pth',
    ),
)
