"""UniQRNet at its smallest, on RefShapes: learns boxes and masks on two CPU cores in a quarter of an hour."""

_base_ = './_base_/default_runtime.py'

# What you may want to change ---------------------------------------------------------------------------------------
data_root = 'data/refshapes'
image_size = 64
batch_size = 32
max_iters = 5000
lr = 1e-3
num_workers = 0  # on two cores, workers take from the arithmetic more than they give

# The data ----------------------------------------------------------------------------------------------------------
train_pipeline = [
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='LoadReferAnnotations'),
    dict(type='ReferResize', scale=(image_size, image_size), keep_ratio=True),
    dict(type='RandomFlipWithText', prob=0.5),
    dict(type='PackReferInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='ReferResize', scale=(image_size, image_size), keep_ratio=True),
    dict(type='PackReferInputs'),
]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='RefShapesDataset', data_root=data_root, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=num_workers,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='RefShapesDataset', data_root=data_root, split='val', test_mode=True, pipeline=test_pipeline),
)
test_dataloader = dict(
    batch_size=64,
    num_workers=num_workers,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='RefShapesDataset',
        data_root=data_root,
        split=['val', 'testA', 'testB'],
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
val_evaluator = dict(type='ReferringMetric')
test_evaluator = dict(type='ReferringMetric')

# The model ---------------------------------------------------------------------------------------------------------
num_tokens = 16
text_dim = 64
dim = 64
channels = (24, 48, 96)
model = dict(
    type='UniQRNet',
    data_preprocessor=dict(type='ReferDataPreprocessor', canvas_size=image_size, placement='random'),
    text_encoder=dict(
        type='TextEncoder',
        model=dict(
            model_type='bert',
            hidden_size=text_dim,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=128,
            max_position_embeddings=32,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        tokenizer='mmuniqrnet:refshapes',
        max_length=num_tokens,
    ),
    backbone=dict(
        type='QRNetSwin',
        text_dim=text_dim,
        gate_rank=8,
        embed_dims=24,
        depths=(2, 2, 2),
        num_heads=(2, 4, 8),
        window_size=4,
        strides=(4, 2, 2),
        out_indices=(0, 1, 2),
        drop_path_rate=0.0,
    ),
    neck=dict(
        type='QueryAwareFusion', in_channels=channels, out_channels=dim, text_dim=text_dim, num_outs=3, gate_rank=8
    ),
    head=dict(
        type='UniQRNetHead',
        encoder=dict(
            type='VisualLinguisticEncoder',
            in_channels=dim,
            text_dim=text_dim,
            embed_dims=dim,
            num_layers=3,
            num_heads=4,
            feedforward_dims=192,
            dropout=0.0,
            num_text_tokens=num_tokens,
            num_levels=3,
            levels=(1, 2),
            position='sine',
            norm_first=True,
        ),
        box_branch=dict(type='BoxBranch', embed_dims=dim),
        mask_branch=dict(
            type='MaskBranch',
            embed_dims=dim,
            in_channels=dim,
            feat_channels=64,
            levels=(0,),
            norm_cfg=dict(type='GN', num_groups=8),
        ),
        score_branch=dict(type='ScoreBranch', embed_dims=dim),
        pixel_guidance=dict(
            type='PixelGuidance',
            backbone_channels=channels,
            neck_channels=dim,
            text_dim=text_dim,
            backbone_stages=(0, 1, 2),
            neck_levels=(0, 1, 2),
            embed_dims=32,
        ),
        box_from_mask=True,
        test_cfg=dict(mask_margin=0.1),
        loss_aux=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=0.3),
        loss_score=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=0.2),
    ),
)

# The training ------------------------------------------------------------------------------------------------------
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=lr, weight_decay=1e-4, betas=(0.9, 0.98), fused=True),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=200),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=200, end=max_iters, T_max=max_iters - 200, eta_min=lr * 0.01),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=1250)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=300, max_keep_ckpts=1, save_best='refshapes/val/mIoU', rule='greater'),
)
log_processor = dict(by_epoch=False)
custom_hooks = [
    dict(type='LossBalanceHook', strategy='magnitude', tasks=dict(box='loss_box', mask=('loss_mask', 'loss_aux'))),
]
randomness = dict(seed=0)
auto_scale_lr = dict(enable=False, base_batch_size=batch_size)
