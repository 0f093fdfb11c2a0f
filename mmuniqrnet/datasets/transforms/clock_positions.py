"""Places named as on the face of a clock: "3 o'clock" is on the right, "9 o'clock" on the left."""

import re

WORDS = ('one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten', 'eleven', 'twelve')
_HOUR = '1[0-2]|[1-9]'
# Digits alone are a place only after "at" and where the phrase ends: in "looking at 2 dogs" they are not.
POSITION = (
    rf"\b(?P<hour>{_HOUR}|{'|'.join(WORDS)})(?=\s?o\s?['’`]?\s?clock\b|\s?[ap]m\b)"
    rf'|(?<=\bat\s)(?P<digits>(?:{_HOUR})(?::?[0-5]\d)?)(?=\s*(?:$|[,.;]))'
)
# What may be a place too: "player 900", "banana 3", "at 9 facing us", and "clock" with other letters.
_MAYBE = re.compile(
    rf"\b(?:{_HOUR}):?(?:00|30)\b|\b(?:{_HOUR})$|\bat\s?\d|\d\s?o?\s?['’`]?\s?[ocl]{{2,5}}k\b|\bat\s(?:{'|'.join(WORDS)})$"
)
_NUMBER = re.compile(rf'\b(?:{_HOUR})\b')


def mirror_position(match: re.Match) -> str:
    """What a match of ``POSITION`` becomes in a mirror; minutes are mirrored, too: "at 230" becomes "at 930"."""
    if match['digits'] is None:
        hour = match['hour'].lower()
        if hour.isdigit():
            return str(_mirror_minutes(60 * int(hour)) // 60)
        word = WORDS[_mirror_minutes(60 * (WORDS.index(hour) + 1)) // 60 - 1]
        return word.upper() if match['hour'].isupper() else word.capitalize() if match['hour'][0].isupper() else word
    digits = match['digits']
    if len(digits) <= 2:
        return str(_mirror_minutes(60 * int(digits)) // 60)
    minutes = _mirror_minutes(60 * int(digits[:-2].rstrip(':')) + int(digits[-2:]))
    return f'{minutes // 60}{":" if ":" in digits else ""}{minutes % 60:02d}'


def _mirror_minutes(minutes: int) -> int:
    """The time of a mirrored clock, in minutes from 60 (1:00) to 779 (12:59)."""
    return (-minutes - 60) % 720 + 60


def may_name_position(text: str, found: bool) -> bool:
    """Whether ``text``, in lower case and without the certain positions, may still name one.

    Args:
        text: The expression without the matches of ``POSITION``.
        found: Whether there were matches: then any small number may belong to them ("at 3 or 4 o'clock").
    """
    return bool(_MAYBE.search(text) or (found and _NUMBER.search(text)))
