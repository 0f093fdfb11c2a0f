"""UniQRNet with Swin-B."""

_base_ = ['./uniqrnet.py', './swin-b.py']

model = dict(
    backbone={{_base_.swin}},
    neck=dict(in_channels=(128, 256, 512, 1024)),
    head=dict(pixel_guidance=dict(backbone_channels=(128, 256, 512, 1024))),
)
