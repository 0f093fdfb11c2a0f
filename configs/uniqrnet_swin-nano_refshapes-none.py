"""uniqrnet_swin-nano_refshapes, also trained to refuse: a fifth of the expressions fit nothing in their image."""

_base_ = './uniqrnet_swin-nano_refshapes.py'

# To change: test_evaluator.refuse_below=X, the score below which the answer is "there is no such thing";
# tools/analysis_tools/choose_threshold.py finds it on val. Another share of such expressions, no_target, needs a
# data_root of its own: set both for each of the three loaders.
dataset = dict(data_root='data/refshapes-none', no_target=0.2)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
test_evaluator = dict(refuse_below=0.6)
