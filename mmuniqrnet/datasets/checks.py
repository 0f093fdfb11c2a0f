"""Old place of names that are in ``mmuniqrnet.analysis`` now; to be removed in the next release."""

from mmuniqrnet.utils.deprecation import moved_names

_NAMES = (
    'KNOWN_SETS',
    'OFFICIAL_COUNTS',
    'FileState',
    'HeldOut',
    'KnownSet',
    'TextLengths',
    'Verification',
    'browse',
    'check_files',
    'choose_sets',
    'fed_picture',
    'find_leaks',
    'held_out_images',
    'text_lengths',
    'training_images',
    'verify_set',
    'write_exclusion_list',
)
__getattr__ = moved_names(__name__, {name: f'mmuniqrnet.analysis:{name}' for name in _NAMES})
