"""QRNet's recipe: 180 epochs, a tenth of the learning rate from epoch 60 on."""

_base_ = './adamw.py'

# To change: train_cfg.max_epochs=N, param_scheduler.0.milestones=[N], optim_wrapper.optimizer.lr=X
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[60], gamma=0.1)]
train_cfg = dict(type='ResumableEpochLoop', max_epochs=180, val_interval=5)
