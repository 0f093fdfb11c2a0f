"""Old place of names that have moved; to be removed in the next release."""

from mmuniqrnet.utils.deprecation import moved_names

__getattr__ = moved_names(__name__, {'InstanceStore': 'mmuniqrnet.datasets.instance_store:InstanceStore'})
