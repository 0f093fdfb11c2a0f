"""Inspecting data and results: completeness, agreement with the published data, leakage, texts, pictures."""

from .augmented_texts import AugmentedTexts, augmented_texts
from .browse import browse, fed_picture
from .known_sets import KNOWN_SETS, OFFICIAL_COUNTS, KnownSet, choose_sets
from .leakage import HeldOut, find_leaks, held_out_images, training_images, write_exclusion_list
from .prepare import FileState, check_files
from .text_lengths import TextLengths, text_lengths
from .verify import Verification, verify_set

__all__ = [
    'KNOWN_SETS',
    'OFFICIAL_COUNTS',
    'AugmentedTexts',
    'FileState',
    'HeldOut',
    'KnownSet',
    'TextLengths',
    'Verification',
    'augmented_texts',
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
]
