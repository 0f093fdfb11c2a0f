"""UniQRNet with Swin-B on RefCOCO, RefCOCO+ and RefCOCOg (umd) together: boxes and masks.

No image of any val or test set is trained on; their list is made once from the refs files (see docs/recipes.md):
python tools/dataset_tools/leakage.py --data-root data --out data/exclude.json
"""

_base_ = ['./_base_/default_runtime.py', './_base_/refcoco.py', './_base_/schedule.py', './_base_/uniqrnet.py']

# What you may want to change ---------------------------------------------------------------------------------------
# Weights that Swin starts from: a file or a URL. The published recipe takes a Mask R-CNN on COCO without the val and
# test images of RefCOCO/+/g (configs/pretrain/); ImageNet-22k, the default here, is no part of COCO.
pretrained = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_base_patch4_window7_224_22k.pth'
text_model = 'bert-base-uncased'  # a Hugging Face name or a local folder
num_tokens = 40  # [CLS] and [SEP] included, for RefCOCOg's longer expressions
leaked_images = 'exclude.json'  # under data/

refcoco = dict(
    type='ReferDataset',
    data_root='data/',
    ann_file='refcoco/instances.json',
    split_file='refcoco/refs(unc).p',
    data_prefix=dict(img_path='coco/train2014/'),
    dataset_name='refcoco',
)
refcoco_plus = dict(
    refcoco, ann_file='refcoco+/instances.json', split_file='refcoco+/refs(unc).p', dataset_name='refcoco+'
)
refcocog = dict(
    refcoco, ann_file='refcocog/instances.json', split_file='refcocog/refs(umd).p', dataset_name='refcocog_umd'
)
train = dict(split='train', filter_cfg=dict(exclude_img_ids=leaked_images), pipeline={{_base_.train_pipeline}})
test = dict(test_mode=True, pipeline={{_base_.test_pipeline}})
val = dict(test, split='val')
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[dict(**refcoco, **train), dict(**refcoco_plus, **train), dict(**refcocog, **train)],
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[dict(**refcoco, **val), dict(**refcoco_plus, **val), dict(**refcocog, **val)],
    )
)
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(refcoco, **test, split=['val', 'testA', 'testB']),
            dict(refcoco_plus, **test, split=['val', 'testA', 'testB']),
            dict(refcocog, **test, split=['val', 'test']),
        ],
    )
)

channels = (128, 256, 512, 1024)
model = dict(
    text_encoder=dict(model=text_model, max_length=num_tokens),
    backbone=dict(
        embed_dims=128,
        depths=(2, 2, 18, 2),
        num_heads=(4, 8, 16, 32),
        init_cfg=dict(type='Pretrained', checkpoint=pretrained),
    ),
    neck=dict(in_channels=channels),
    head=dict(encoder=dict(num_text_tokens=num_tokens), pixel_guidance=dict(backbone_channels=channels)),
)

default_hooks = dict(checkpoint=dict(save_best='refcoco/val/mIoU', rule='greater'))
