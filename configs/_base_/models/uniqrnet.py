"""UniQRNet at full size but for its backbone, and the balance of its losses: 640 pixels, BERT, 20 tokens."""

# To change:
# - where BERT comes from (a folder, or a name on the Hugging Face hub): model.text_encoder.model=FOLDER
# - the number of tokens, [CLS] and [SEP] included: model.text_encoder.max_length=N and
#   model.head.encoder.num_text_tokens=N, which must agree
# - the weights that Swin starts from (a file or a URL): model.backbone.init_cfg.checkpoint=FILE. The published recipe
#   takes a Mask R-CNN trained on COCO without the val and test images of RefCOCO, RefCOCO+ and RefCOCOg: see
#   configs/pretrain/.
# - tokens of stride 16 as well in the encoder, at six times its operations (with Swin-S a quarter more in the whole
#   network): model.head.encoder.levels=2,3,4 and
#   model.head.encoder.level_sizes="[(40,40),(20,20),(10,10)]"
model = dict(
    type='UniQRNet',
    # Expressions of a batch about the same pixels share what the network computes before its first gate.
    data_preprocessor=dict(
        type='ReferDataPreprocessor', canvas_size=640, placement='random', test_placement='center', share_images=True
    ),
    text_encoder=dict(type='TextEncoder', model='bert-base-uncased', max_length=20),
    # Not as published: the gates are normalised and limited, and those of the backbone act after the norm of a stage's
    # map, in which a spatial gate would nearly cancel (published: gate_norm=False, gate_limit=None,
    # gate_output='before_norm').
    backbone=dict(type='QRNetSwin', text_dim=768, gate_norm=True, gate_limit=4.0, gate_output='after_norm'),
    neck=dict(type='QueryAwareFusion', out_channels=256, text_dim=768, num_outs=5, gate_norm=True, gate_limit=4.0),
    head=dict(
        type='UniQRNetHead',
        encoder=dict(
            type='VisualLinguisticEncoder',
            in_channels=256,
            text_dim=768,
            embed_dims=256,
            num_layers=6,
            num_heads=8,
            feedforward_dims=2048,
            dropout=0.1,
            num_text_tokens=20,
            num_levels=5,
            levels=(3, 4),
            level_sizes=((20, 20), (10, 10)),
            position='learned',
            norm_first=False,
        ),
        box_branch=dict(type='BoxBranch', embed_dims=256, sees_reference=True),
        mask_branch=dict(type='MaskBranch', embed_dims=256, in_channels=256, feat_channels=256, levels=(2, 1, 0)),
        score_branch=dict(type='ScoreBranch', embed_dims=256),
        # Which layers the pixel loss guides.
        pixel_guidance=dict(
            type='PixelGuidance',
            neck_channels=256,
            text_dim=768,
            backbone_stages=(0, 1, 2, 3),
            neck_levels=(0, 1, 2),
            embed_dims=64,
            guide_gates=False,
        ),
        loss_box_l1=dict(type='mmdet.L1Loss', loss_weight=1.0),
        loss_box_giou=dict(type='mmdet.GIoULoss', loss_weight=1.0),
        loss_mask_bce=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_mask_dice=dict(type='mmdet.DiceLoss', loss_weight=1.0),
        loss_aux=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=0.2),
        loss_score=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=0.2),
        box_from_mask=True,
        mask_loss_stride=4,
        # Whether the mask is also predicted, in training only, after each of the encoder's earlier layers, and the
        # weight of each of these beside the last layer: the five together weigh as much as the last. They count as
        # losses of the mask's task, so larger ones lower its weight.
        deep_supervision=True,
        deep_loss_weight=0.2,
    ),
)

custom_hooks = [
    # Each task has a weight of its own; the auxiliary losses, of pixel guidance, do not change the mask's. A loss of no
    # task, such as loss_score, keeps weight 1. Other choices:
    # - strategy='fixed' (each task weighs 1), or with weights of yours:
    #   strategy=dict(type='fixed', weights=dict(box=0.2, mask=1.0, aux=1.0))
    # - strategy='magnitude' makes the tasks equally large; 'dwa' follows how fast their losses fall
    # - strategy='gradnorm' compares gradients, and needs shared_parameters='neck', on which all three tasks depend
    # Without pixel guidance, or without boxes or masks, the task is to be left out. The prefix d?.loss_mask is that of
    # deep supervision; it fits 11 encoder layers, and d*.loss_mask more.
    dict(
        type='LossBalanceHook',
        strategy='uncertainty',
        tasks=dict(box='loss_box', mask=('loss_mask', 'd?.loss_mask'), aux='loss_aux'),
        delay=1,  # steps by which the weights follow the losses later, so that a GPU does not wait for the host
    ),
]
