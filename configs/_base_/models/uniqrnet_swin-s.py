"""UniQRNet with Swin-S."""

_base_ = ['./uniqrnet.py', './swin-s.py']

model = dict(
    backbone={{_base_.swin}},
    neck=dict(in_channels=(96, 192, 384, 768)),
    head=dict(pixel_guidance=dict(backbone_channels=(96, 192, 384, 768))),
)
