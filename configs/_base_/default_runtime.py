"""How a run logs, saves and draws, the same for every config."""

default_scope = 'mmuniqrnet'

default_hooks = dict(
    runtime_info=dict(type='LossHistoryHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='ReferringVisualizationHook', draw=True),
    check_load=dict(type='CheckLoadHook'),
    check_loss=dict(type='CheckLossHook', action='stop'),
    loaded_lr=dict(type='LoadedLrHook'),  # for optim_wrapper.constructor='LoadedLrOptimWrapperConstructor'
    check_validation=dict(type='CheckValidationHook'),
    gate_saturation=dict(type='GateSaturationHook', interval=50),
)

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    # Seconds that a process waits for the others; on CPUs, the backend is gloo.
    dist_cfg=dict(backend='nccl', timeout=1800),
)

visualizer = dict(
    type='ReferringVisualizer',
    vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')],
    name='visualizer',
)

log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
