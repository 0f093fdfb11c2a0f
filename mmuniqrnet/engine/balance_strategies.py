"""Old place of names that are in ``mmuniqrnet.engine.balance`` now; to be removed in the next release."""

from mmuniqrnet.utils.deprecation import moved_names

_NAMES = ('BalanceStrategy', 'Fixed', 'Magnitude', 'DynamicWeightAverage', 'Uncertainty', 'GradNorm', 'RandomWeights')
__getattr__ = moved_names(
    __name__,
    {'BALANCE_STRATEGIES': 'mmuniqrnet.registry:BALANCE_STRATEGIES'}
    | {name: f'mmuniqrnet.engine.balance.strategies:{name}' for name in _NAMES},
)
