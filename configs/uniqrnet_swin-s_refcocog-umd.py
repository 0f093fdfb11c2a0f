"""UniQRNet with Swin-S on RefCOCOg (umd): boxes and masks."""

_base_ = [
    './_base_/models/uniqrnet_swin-s.py',
    './_base_/datasets/refcocog-umd.py',
    './_base_/schedules/60e_cosine.py',
    './_base_/uniqrnet_runtime.py',
]

# To change: model.backbone.init_cfg.checkpoint=FILE, model.text_encoder.model=FOLDER, train_dataloader.batch_size=N

# Expressions are longer here than in RefCOCO: 40 tokens, [CLS] and [SEP] included. The two numbers must agree.
model = dict(text_encoder=dict(max_length=40), head=dict(encoder=dict(num_text_tokens=40)))
default_hooks = dict(checkpoint=dict(save_best=['refcocog_umd/val/mIoU', 'refcocog_umd/val/Acc@0.5'], rule='greater'))
