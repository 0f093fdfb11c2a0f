"""UniQRNet with Swin-T."""

_base_ = ['./uniqrnet.py', './swin-t.py']

model = dict(
    backbone={{_base_.swin}},
    neck=dict(in_channels=(96, 192, 384, 768)),
    head=dict(pixel_guidance=dict(backbone_channels=(96, 192, 384, 768))),
)
