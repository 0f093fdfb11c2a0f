"""Which English expressions a crop may make wrong, although it keeps the centre of the object.

Four kinds of words depend on what a crop takes away:

- Places in the image: "left", "upper", "corner", "edge", "at 3 o'clock". The object has another place in the crop.
- Rows and counts: "front row", "on the end", "second", "number 4", "three", "both". What is counted may be outside the
  crop, whether a row is the front one shows only beside the others, and a crop makes new ends.
- What the image shows of an object: "cut off", "partial", "half", "whole", "barely visible", "no head". The crop may
  cut this object, and others.
- Size beside others: "biggest", "smaller", "tallest". The crop may cut one of those that are compared.

Other words stay true, and do not forbid a crop. The first, last, closest, front or highest object of an image is so in
every part of the image that has it, since a crop adds nothing to compare with. "Far" and "in the background" are
depths. "Behind the car" and "next to her" are true of the scene, even where the crop does not show the car; "with a
hat" is true of the object, even where the crop does not show the hat, as in every crop.
"""

import re

from .mirrored_text import SHORT_OR_MISSPELLED_SIDES
from .words import has_foreign_letters, one_error_away, words_of

# Found inside words, too, since people leave out spaces: "bottomright", "themiddle".
_PLACES = re.compile(
    # Not "bright", "upright", "copyright", "laptop", "flower", "ledge", "wedge", "hedge", "sledge".
    r'left|\bright|(?<!b)(?<!\bup)(?<!\bcopy)(?<!\bw)right|\b(?:on|very|the|at)?top|top(?:left|right|most)'
    r'|bot+om|mid+le|\bmid(?!get|riff)|cent(?:er|re|ral)|corner|\b(?:very|the)?upper|\b(?:very|the)?lower(?!ed)'
    r'|(?<![lhw])edge|\bborder|\b(?:high|low)\b(?!\s?chair)|halfway|quadrant|\b(?:nor|sou)th|\b(?:east|west)(?:ern)?\b'
    # The image's side, if nothing else is named: "the side of the road" stays true.
    r'|\b(?:on|at|to|off|far|near)(?:\sthe)?\sside\b(?!\sof)'
    r"|o\s?['’`]?\s?clock|\d\s?[ap]m\b|\bat\s?\d|\b(?:1[0-2]|[1-9]):?[03]0\b"
    r'|\b(?:of|in|into|off|out\sof|from|across|to)(?:\sthe|\sthis)?\s(?:pic|photo|picture|image|screen|frame|shot|view)\b'
    # "End table" and "rear end" are no places.
    r'|(?<!rear )(?<!hind )(?<!back )\bends?\b(?!\stable)|\brows?\b'
    r'|\d(?:nd|rd|th)\b|\bnumber\s\w'
    r"|\bcut[\s-]?off|\bcropped|\bpartial|(?:can|can'?t|cannot|could|only|just|barely|you|not)\ssee|\bvisible"
    r'|\b(?:no|without|only|just)\s(?:a\s)?(?:head|face|body|legs?|arms?|hands?)\b'
)
_WORDS = (
    words_of(
        # Places, shortened.
        'bot btm botto bttm tp topp ttop uper uppr uppper cntr farside '
        # Counts; "11" and "12" are hours, more often.
        'second third fourth fifth sixth seventh eighth two three four five six seven eight nine ten both pair couple '
        '2 3 4 5 6 7 8 9 10 11 12 '
        # What the image shows, and sizes.
        'half halves whole entire entirely full fully complete completely partly cutoff offscreen '
        'bigger larger smaller taller shorter longer wider biggest largest smallest tallest shortest longest widest'
    )
    | SHORT_OR_MISSPELLED_SIDES
    | one_error_away(
        ('bottom', 'middle', 'center', 'centre', 'corner'), words_of('meddle muddle enter canter cornea corned')
    )
)
_TOKEN = re.compile('[a-z]+|[0-9]+')


def crop_may_falsify(text: str) -> bool:
    """Whether an English expression may become wrong when the image is cropped around the object's centre.

    In doubt the answer is yes, as for a text with letters that are not Latin: a crop that is left out costs a little
    augmentation.
    """
    lower = text.lower()
    return (
        _PLACES.search(lower) is not None or not _WORDS.isdisjoint(_TOKEN.findall(lower)) or has_foreign_letters(text)
    )
