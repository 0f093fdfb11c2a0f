"""QRNet's optimiser: AdamW, and the learning rate of each part of the network."""

# To change: optim_wrapper.optimizer.lr=X
# The learning rate is for an effective batch of 8 GPUs x 16 = 128; with another one, pass --auto-scale-lr.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-4),
    accumulative_counts=1,
    paramwise_cfg=dict(
        custom_keys={
            # What comes pre-trained learns ten times slower; the query-modulated gates are new. The longest key that
            # is part of a parameter's name wins, and 'backbone' is part of the pixel guidance's, too.
            'backbone': dict(lr_mult=0.1),
            'backbone.gates': dict(lr_mult=1.0),
            'neck.lateral_convs': dict(lr_mult=0.1),
            'text_encoder': dict(lr_mult=0.1),
            'head.pixel_guidance': dict(lr_mult=1.0),
        }
    ),
)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=128)
