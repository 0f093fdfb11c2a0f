from .box_mask_consistency import BoxMaskConsistencyLoss
from .loss_check import check_loss
from .lovasz import LovaszMaskLoss

__all__ = ['BoxMaskConsistencyLoss', 'LovaszMaskLoss', 'check_loss']
