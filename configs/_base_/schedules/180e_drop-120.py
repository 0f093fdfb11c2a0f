"""QRNet's recipe for RefCOCO+: 180 epochs, a tenth of the learning rate from epoch 120 on."""

_base_ = './180e_drop-60.py'

param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[120], gamma=0.1)]
