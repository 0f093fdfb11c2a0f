"""UniQRNet with Swin-S on RefCOCOg (google): boxes and masks.

This split divides objects, not images: its val images are training images, too. It has no test split.
"""

_base_ = ['./_base_/default_runtime.py', './_base_/refcoco.py', './_base_/schedule.py', './_base_/uniqrnet.py']

# What you may want to change ---------------------------------------------------------------------------------------
# Weights that Swin starts from: a file or a URL. The published recipe takes a Mask R-CNN on COCO without the val and
# test images of RefCOCO/+/g (configs/pretrain/); ImageNet-1k, the default here, is no part of COCO.
pretrained = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_small_patch4_window7_224.pth'
text_model = 'bert-base-uncased'  # a Hugging Face name or a local folder
num_tokens = 40  # [CLS] and [SEP] included; expressions are longer here than in RefCOCO

dataset = dict(ann_file='refcocog/instances.json', split_file='refcocog/refs(google).p', dataset_name='refcocog_google')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dict(**dataset, split='val'))

model = dict(
    text_encoder=dict(model=text_model, max_length=num_tokens),
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=pretrained)),
    head=dict(encoder=dict(num_text_tokens=num_tokens)),
)

default_hooks = dict(checkpoint=dict(save_best='refcocog_google/val/mIoU', rule='greater'))
