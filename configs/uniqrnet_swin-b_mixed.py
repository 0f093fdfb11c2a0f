"""UniQRNet with Swin-B on RefCOCO, RefCOCO+ and RefCOCOg (umd) together: boxes and masks."""

_base_ = [
    './_base_/models/uniqrnet_swin-b.py',
    './_base_/datasets/mixed.py',
    './_base_/schedules/60e_cosine.py',
    './_base_/uniqrnet_runtime.py',
]

# To change: model.backbone.init_cfg.checkpoint=FILE, model.text_encoder.model=FOLDER, train_dataloader.batch_size=N

# Expressions are longer in RefCOCOg: 40 tokens, [CLS] and [SEP] included. The two numbers must agree.
model = dict(text_encoder=dict(max_length=40), head=dict(encoder=dict(num_text_tokens=40)))
# The best model is the best on average over the three sets.
val_evaluator = dict(mean_over_sets=True)
default_hooks = dict(checkpoint=dict(save_best=['mean/mIoU', 'mean/Acc@0.5'], rule='greater'))
