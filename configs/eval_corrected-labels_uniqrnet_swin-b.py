"""Any checkpoint of UniQRNet with Swin-B, on evaluation sets with corrected labels; for testing only."""

_base_ = [
    './_base_/models/uniqrnet_swin-b.py',
    './_base_/datasets/corrected_labels.py',
    './_base_/default_runtime.py',
]

# python tools/test.py configs/eval_corrected-labels_uniqrnet_swin-b.py CHECKPOINT
# To change: model.text_encoder.model=FOLDER, and for a model of RefCOCOg or of the mixed sets, which reads 40 tokens,
# model.text_encoder.max_length=40 model.head.encoder.num_text_tokens=40
model = dict(backbone=dict(init_cfg=None))  # the weights are those of CHECKPOINT
