"""Old name of datasets/refcoco.py, for configs of your own; it goes with the next release."""

_base_ = './datasets/refcoco.py'
_deprecation_ = dict(expected='_base_/datasets/refcoco.py')
