"""Old place of names that have moved; to be removed in the next release."""

from mmuniqrnet.utils.deprecation import moved_names

__getattr__ = moved_names(
    __name__, {'to_dict': 'mmuniqrnet.apis.outputs:to_dict', 'Question': 'mmuniqrnet.apis.inputs:Question'}
)
