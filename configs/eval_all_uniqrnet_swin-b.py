"""Any checkpoint of UniQRNet with Swin-B, on all ten evaluation sets in one go; for testing only.

python tools/test.py configs/eval_all_uniqrnet_swin-b.py CHECKPOINT
"""

_base_ = ['./_base_/default_runtime.py', './_base_/uniqrnet.py', './_base_/ten_sets.py']

# What you may want to change ---------------------------------------------------------------------------------------
text_model = 'bert-base-uncased'  # a Hugging Face name or a local folder
num_tokens = 20  # as in training: 20; 40 for a model of RefCOCOg or of the mixed sets

channels = (128, 256, 512, 1024)
model = dict(
    text_encoder=dict(model=text_model, max_length=num_tokens),
    backbone=dict(embed_dims=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)),
    neck=dict(in_channels=channels),
    head=dict(encoder=dict(num_text_tokens=num_tokens), pixel_guidance=dict(backbone_channels=channels)),
)
