"""A small UniQRNet for photographs, on pre-trained parts: 256 pixels, EfficientNet-Lite0, two layers of MiniLM."""

# tools/model_converters/photo_parts.py makes the two parts, in data/photo_parts.

channels = (40, 112, 320)
text_dim = 384
neck_width = 128
width = 128
model = dict(
    type='UniQRNet',
    data_preprocessor=dict(
        type='ReferDataPreprocessor',
        canvas_size=256,
        # What EfficientNet-Lite was trained with.
        mean=[127.0, 127.0, 127.0],
        std=[128.0, 128.0, 128.0],
        placement='random',
        test_placement='center',
        share_images=True,
    ),
    text_encoder=dict(
        type='TextEncoder',
        model='data/photo_parts/text_encoder',
        tokenizer='mmuniqrnet:photos',
        max_length=20,
        sentence='mean',
    ),
    backbone=dict(
        type='QueryModulated',
        text_dim=text_dim,
        # Before the first gate, the expressions of one image share what is computed.
        gated_stages=(2, 3),
        gate_rank=4,
        gate_norm=True,
        gate_limit=4.0,
        gate_output='after_norm',
        body=dict(
            type='EfficientNetLite',
            arch='lite0',
            out_indices=(1, 2, 3),
            frozen_stages=2,
            init_cfg=dict(type='Pretrained', checkpoint='data/photo_parts/efficientnet-lite0.pth'),
        ),
    ),
    neck=dict(
        type='QueryAwareFusion',
        in_channels=channels,
        out_channels=neck_width,
        text_dim=text_dim,
        num_outs=3,
        gate_rank=2,
        gate_norm=True,
        gate_limit=4.0,
    ),
    head=dict(
        type='UniQRNetHead',
        encoder=dict(
            type='VisualLinguisticEncoder',
            in_channels=neck_width,
            text_dim=text_dim,
            embed_dims=width,
            num_layers=3,
            num_heads=4,
            feedforward_dims=512,
            dropout=0.0,
            num_text_tokens=20,
            num_levels=3,
            levels=(1,),
            position='sine',
            place_in_image=True,
            norm_first=True,
        ),
        box_branch=dict(type='BoxBranch', embed_dims=width, sees_reference=True),
        box_refiner=dict(type='BoxRefiner', embed_dims=width, in_channels=neck_width),
        mask_branch=dict(
            type='MaskBranch',
            embed_dims=width,
            in_channels=neck_width,
            feat_channels=64,
            levels=(0,),
            norm_cfg=dict(type='GN', num_groups=8),
        ),
        score_branch=dict(type='ScoreBranch', embed_dims=width),
        pixel_guidance=dict(
            type='PixelGuidance',
            backbone_channels=channels,
            neck_channels=neck_width,
            text_dim=text_dim,
            backbone_stages=(1, 2),
            neck_levels=(0, 1, 2),
            embed_dims=32,
            guide_gates=False,
        ),
        box_from_mask=True,
        mask_loss_stride=8,
        deep_supervision=True,
        deep_loss_weight=0.3,
        # Most photographs have boxes and no masks.
        loss_mask_extent=dict(type='BoxMaskConsistencyLoss'),
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
