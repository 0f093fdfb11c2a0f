"""Old name of models/uniqrnet_swin-s.py, but without first weights; it goes with the next release."""

_base_ = './models/uniqrnet.py'
_deprecation_ = dict(expected='_base_/models/uniqrnet_swin-s.py')

model = dict(
    backbone=dict(
        embed_dims=96,
        depths=(2, 2, 18, 2),
        num_heads=(3, 6, 12, 24),
        window_size=7,
        drop_path_rate=0.2,
        with_cp=False,
    ),
    neck=dict(in_channels=(96, 192, 384, 768)),
    head=dict(pixel_guidance=dict(backbone_channels=(96, 192, 384, 768))),
)
