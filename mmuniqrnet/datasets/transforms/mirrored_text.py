"""What an English expression says of an image, said of the mirrored image."""

import re

from . import clock_positions
from .words import has_foreign_letters, one_error_away, words_of

_SWAP = {'left': 'right', 'leftmost': 'rightmost', 'lefthand': 'righthand', 'leftest': 'rightest', 'lefty': 'righty'}
_SWAP |= {right: left for left, right in _SWAP.items()}
_WORD = re.compile(r'\b(' + '|'.join(sorted(_SWAP, key=len, reverse=True)) + r')\b', re.IGNORECASE)

# Abbreviations and misspellings that come in pairs, so that an exchange has a way back.
_PAIRS = {'left': 'right', 'l': 'r', 'lt': 'rt', 'lft': 'rght', 'lef': 'righ', 'lhs': 'rhs'}
_PAIRS |= {right: left for left, right in _PAIRS.items()}
_COLORS = 'blue|green|brown|gr[ae]y|pink|tan|purple|yellow|red|orange|colou?r'
# Words that contain "left" or "right" and name no direction. They come first, so that what they contain is not found.
_NO_DIRECTION = (
    r'bright|\b(?:up|down|out|forth|birth|copy|al|f)right|\b(?:play|ship|mill|cart)?wright|righteous|\brightful'
    r'|\bcleft|\bleft-?over'
)
_EXCHANGED = re.compile(
    rf'(?P<kept>{_NO_DIRECTION})'
    r'|(?P<side>left|right)'
    # "lt blue" is light blue; a single letter is certain only with a word that shows a place.
    rf'|\b(?P<short>lft|rght|lef|righ|lhs|rhs|(?:lt|rt)(?!\s(?:{_COLORS})))\b'
    r"|(?P<before>\b(?:(?:on|to|at|from)(?:\sthe)?|far|top|bottom|upper|lower|btm)\s)(?P<letter>[lr])\b(?!['’-]|\sshape)"
    r'|\b(?P<initial>[lr])(?=\s(?:side|corner|hand|edge)\b)'
    rf'|{clock_positions.POSITION}',
    re.IGNORECASE,
)

# "Right behind" may be "directly behind" or "on the right, behind". "Left" is treated alike: it would become "right".
_EMPHASIS = re.compile(
    r'\b(?:left|right)\s(?:next|behind|above|below|beneath|under|underneath|over|beside|by|near|before'
    r'|after|against|outside|inside|between|where|there|here|along|around|across|through|past|at|up|now|away|angle|off'
    r'|infront|ontop|inbetween|in\s(?:the\s)?(?:very\s)?(?:front|middle|center|centre|between|back)'
    r'|on\s(?:the\s)?(?:edge|top|bottom|border|line))\b'
)
_ALL_RIGHT = re.compile(r'\ball[\s-]+(?:left|right)\b')
_WORD_OR_SIGN = re.compile(r'\w+|[^\w\s-]')
_SHOW_DIRECTION = words_of(
    'on the to at from far farthest furthest top bottom upper lower front back middle center centre mid very most '
    'extreme way towards toward slightly low high his her your their its'
)

# Common English words that are one error away from "left" or "right", and rarely meant for them. Others, such as
# "let" and "tight", are: in ReferItGame, the objects of "let" lie on the left, those of "tight" on the right.
_ENGLISH = ('lift', 'loft', 'lent', 'light', 'night', 'might', 'sight', 'eight')
_MISSPELLED = {
    word
    for word in one_error_away(('left', 'right'), _ENGLISH)
    if 'left' not in word and 'right' not in word and word not in _PAIRS
} | words_of(
    # "le t" and "ri ght", too.
    'le ri rgt rite rihg irhgt ght rugt righmost lefmost rigmost rigthmost righest lefest lefetst righside lefside '
    'lrft raeft'
)
_COMPASS = {
    start + side + end for start in ('', 'north', 'south') for side in ('east', 'west') for end in ('', 'ern')
} | {f'{side}{end}' for side in ('east', 'west') for end in ('most', 'ernmost', 'ward')}
# Words of other languages with Latin letters. Nothing else tells the language; English texts hardly have them.
_OTHER_LANGUAGES = words_of(
    'links rechts linke linken linker linkes rechte rechten rechter rechtes gauche droite izquierda izquierdo derecha '
    'derecho sinistra sinistro destra esquerda esquerdo direita direito'
)
# The same without a space to their neighbour: "lftmost", "toprt".
_JOINED = {
    joined
    for side in (_PAIRS.keys() | _MISSPELLED) - {'left', 'right'}
    for joined in (
        *(f'{start}{side}' for start in ('top', 'bottom', 'btm', 'upper', 'lower', 'far', 'front', 'back')),
        *(f'{side}{end}' for end in ('most', 'side', 'hand', 'corner')),
    )
}
# All words for a side that do not contain "left" or "right".
SHORT_OR_MISSPELLED_SIDES = (_PAIRS.keys() | _MISSPELLED | _JOINED) - {'left', 'right'}
# Players of ReferItGame saw the rounds on the left of the screen and the score on the right, and refer to them.
_DOUBTFUL = (
    _MISSPELLED
    | _JOINED
    | _COMPASS
    | _OTHER_LANGUAGES
    | {'score', 'rounds', 'clockwise', 'counterclockwise', 'anticlockwise'}
)
_TOKEN = re.compile('[a-z]+|[0-9]+')
_MAY_BE_UNCERTAIN = words_of('l r lt rt')
_NUMBERS = frozenset(clock_positions.WORDS)
_MAY_BE_EXCHANGED = frozenset(_PAIRS)
_UNCERTAIN = re.compile(r'\b(?:l|r|lt|rt)\b')

# People count from the left if they do not say from where: in RefCOCO and ReferItGame, the objects of "third", "fourth"
# and "last" lie further to the right than others.
_ORDINAL = re.compile(
    r'\b(?:first|1st|second|2nd|third|3rd|fourth|fifth|sixth|seventh|eighth|\d+th|last|number\s(?:\d|[a-z]+))\b'
    r'(?!\s(?:row|floor|story|stories|level|shelf|line|step|tier|layer|closest|nearest|farthest|furthest|highest|lowest'
    r'|tallest|biggest|largest|smallest|to\s(?:the\s)?(?:top|bottom|front|back))\b)'
)
# Words without which there is no such ordinal.
_COUNTING = words_of('first second third fourth fifth sixth seventh eighth last number')
_ANCHOR = re.compile(
    r'left|right|\b(?:lt|rt|lft|rght)\b|\bfrom\s(?:the\s)?(?:very\s)?(?:top|bottom|front|back|rear|us|you)\b'
)


def swap_left_right(text: str) -> str:
    """Exchange left and right in an English expression: whole words only, each keeping its case.

    This is QRNet's way. Applied twice, it gives the original text. "bright" and "copyright" stay as they are, but so do
    "topleft" and "2left": :func:`mirror_text` does more.
    """
    return _WORD.sub(lambda match: _in_case_of(match.group(), _SWAP[match.group().lower()]), text)


def mirror_text(text: str) -> str | None:
    """The expression for the mirrored image, or None if it is in doubt.

    Left and right are exchanged also inside words ("leftside", "topright", "2left", "leftt"), and so are a few common
    abbreviations ("rt", "lft") and the hours of a clock face ("3 o'clock", "at 900", "9pm"). Every word keeps its case.
    Applied to its own result, the function gives the original text; a text for which it would not is in doubt.

    In doubt are, besides:

    - other misspellings of left and right;
    - "right behind", "right next to" and the like, unless a word such as "on" or "the" shows that a direction is meant;
    - "l" and "r" as words that may mean something else, and numbers that may be hours;
    - ordinals of which nothing says from where is counted ("third bowl");
    - points of the compass, and words for left and right in some other languages;
    - texts with letters that are not Latin.

    An image whose expression is in doubt should not be flipped. That costs a little augmentation; a wrong expression
    would teach that left is right.

    Not seen is "left" for what remains ("one piece left") and "right" for what is correct ("you were right"). The
    word is exchanged, too: the expression loses its sense there, but names no place that is wrong. Letters and numbers
    that can be read in the image ("player 13") are mirrored in it, and stay as they are in the text.
    """
    mirrored = _mirror(text)
    return mirrored if mirrored is not None and _mirror(mirrored) == text else None


def _mirror(text: str) -> str | None:
    if has_foreign_letters(text):
        return None
    lower = text.lower()
    tokens = _TOKEN.findall(lower)
    sided = 'left' in lower or 'right' in lower
    if not _DOUBTFUL.isdisjoint(tokens):
        return None
    if sided and (
        _ALL_RIGHT.search(lower) or any(not _shows_direction(lower, m.start()) for m in _EMPHASIS.finditer(lower))
    ):
        return None
    numbers = any(map(str.isdigit, tokens)) or not _NUMBERS.isdisjoint(tokens)
    if (numbers or not _COUNTING.isdisjoint(tokens)) and _ORDINAL.search(lower) and not _ANCHOR.search(lower):
        return None
    if not sided and not numbers and _MAY_BE_EXCHANGED.isdisjoint(tokens):
        return text  # most expressions; what follows takes longer
    hours = False

    def exchange(match: re.Match) -> str:
        nonlocal hours
        if match['kept']:
            return match.group()
        if match['hour'] or match['digits']:
            hours = True
            return clock_positions.mirror_position(match)
        word = match['side'] or match['short'] or match['letter'] or match['initial']
        return (match['before'] or '') + _in_case_of(word, _PAIRS[word.lower()])

    mirrored = _EXCHANGED.sub(exchange, text)
    if not numbers and _MAY_BE_UNCERTAIN.isdisjoint(tokens):
        return mirrored
    # Letters take the places of what is certain, so that "2left" does not become a number.
    rest = _EXCHANGED.sub('x', lower)
    if _UNCERTAIN.search(rest) or clock_positions.may_name_position(rest, hours):
        return None
    return mirrored


def _shows_direction(text: str, end: int) -> bool:
    """Whether the last word before ``end`` shows that "left" or "right" after it is a direction."""
    # All of these words are short. A pattern that looks for a word of any length takes hours for 100,000 letters.
    before = _WORD_OR_SIGN.findall(text, max(end - 40, 0), end)
    return bool(before) and before[-1] in _SHOW_DIRECTION


def _in_case_of(word: str, other: str) -> str:
    """``other`` in capitals, or with a first capital, as ``word`` is."""
    if word.isupper():
        return other.upper()
    return other.capitalize() if word[0].isupper() else other
