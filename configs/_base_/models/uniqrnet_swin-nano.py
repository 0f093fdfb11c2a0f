"""UniQRNet at its smallest, and the balance of its losses: 64 pixels, 16 tokens, 1.0 M parameters."""

model = dict(
    type='UniQRNet',
    data_preprocessor=dict(type='ReferDataPreprocessor', canvas_size=64, placement='random'),
    text_encoder=dict(
        type='TextEncoder',
        model=dict(
            model_type='bert',
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=128,
            max_position_embeddings=32,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        tokenizer='mmuniqrnet:refshapes',
        max_length=16,
    ),
    backbone=dict(
        type='QRNetSwin',
        text_dim=64,
        gate_rank=8,
        embed_dims=24,
        depths=(2, 2, 2),
        num_heads=(2, 4, 8),
        window_size=4,
        strides=(4, 2, 2),
        out_indices=(0, 1, 2),
        drop_path_rate=0.0,
    ),
    neck=dict(type='QueryAwareFusion', in_channels=(24, 48, 96), out_channels=64, text_dim=64, num_outs=3, gate_rank=8),
    head=dict(
        type='UniQRNetHead',
        encoder=dict(
            type='VisualLinguisticEncoder',
            in_channels=64,
            text_dim=64,
            embed_dims=64,
            num_layers=3,
            num_heads=4,
            feedforward_dims=192,
            dropout=0.0,
            num_text_tokens=16,
            num_levels=3,
            levels=(1, 2),
            position='sine',
            norm_first=True,
        ),
        box_branch=dict(type='BoxBranch', embed_dims=64),
        mask_branch=dict(
            type='MaskBranch',
            embed_dims=64,
            in_channels=64,
            feat_channels=64,
            levels=(0,),
            norm_cfg=dict(type='GN', num_groups=8),
        ),
        score_branch=dict(type='ScoreBranch', embed_dims=64),
        pixel_guidance=dict(
            type='PixelGuidance',
            backbone_channels=(24, 48, 96),
            neck_channels=64,
            text_dim=64,
            backbone_stages=(0, 1, 2),
            neck_levels=(0, 1, 2),
            embed_dims=32,
        ),
        box_from_mask=True,
        # Mask losses after the encoder's two earlier layers as well, and the weight of each.
        deep_supervision=False,
        deep_loss_weight=0.5,
        test_cfg=dict(mask_margin=0.1),
        loss_aux=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=0.3),
        loss_score=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=0.2),
    ),
)

custom_hooks = [
    # Other strategies, and what they need: see uniqrnet.py.
    dict(
        type='LossBalanceHook',
        strategy='uncertainty',
        tasks=dict(box='loss_box', mask=('loss_mask', 'd?.loss_mask'), aux='loss_aux'),
    ),
]
