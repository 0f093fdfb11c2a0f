"""The network for photographs, fine-tuned from the weights that come with the package."""

_base_ = './uniqrnet_efficientnet-lite0_photos-320.py'

# Run it in the repository's folder, where load_from is. The data are set as in docs/tutorials/photographs.md.
# To change: the length, train_cfg.max_iters=N param_scheduler.1.end=N param_scheduler.1.T_max=N, where T_max is 100
# less; optim_wrapper.optimizer.lr=X
load_from = 'mmuniqrnet/weights/uniqrnet_efficientnet-lite0_photos.safetensors'
model = dict(
    # The settings of the two parts whose first weights the training from scratch reads from files.
    text_encoder=dict(
        model=dict(
            _delete_=True,
            model_type='bert',
            hidden_size=384,
            intermediate_size=1536,
            max_position_embeddings=32,
            num_hidden_layers=2,
            vocab_size=3000,
        )
    ),
    backbone=dict(body=dict(init_cfg=None)),
)
photos = dict(
    _delete_=True,
    type='ReferJsonlDataset',
    data_root='data/photos/',
    data_prefix=dict(img_path='images/'),
    dataset_name='photos',
)
train_dataloader = dict(batch_size=16, dataset=dict(photos, ann_file='train.jsonl', pipeline={{_base_.train_pipeline}}))
val_dataloader = dict(
    dataset=dict(photos, ann_file='val.jsonl', split='val', test_mode=True, pipeline={{_base_.test_pipeline}})
)
test_dataloader = dict(
    dataset=dict(photos, ann_file='val.jsonl', split='val', test_mode=True, pipeline={{_base_.test_pipeline}})
)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=100, end=500, T_max=400, eta_min=1e-5),
]
train_cfg = dict(max_iters=500, val_interval=100)
