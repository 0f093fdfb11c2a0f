"""Old name of datasets/ten_sets.py, for configs of your own; it goes with the next release."""

_base_ = './datasets/ten_sets.py'
_deprecation_ = dict(expected='_base_/datasets/ten_sets.py')
