"""The colours of the phrases."""

# Okabe and Ito's, which people with any one kind of cone missing tell apart, less the black, plus white.
COLOURS = (
    (213, 94, 0),
    (86, 180, 233),
    (240, 228, 66),
    (0, 158, 115),
    (204, 121, 167),
    (0, 114, 178),
    (230, 159, 0),
    (255, 255, 255),
)


def luminance(colour: tuple[int, int, int]) -> float:
    """WCAG's relative luminance, 0..1, of an sRGB colour of 0..255."""
    linear = [
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in (value / 255 for value in colour)
    ]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear))


def contrast(first: tuple[int, int, int], second: tuple[int, int, int]) -> float:
    """WCAG's contrast ratio, 1 to 21; letters are legible from 4.5 on."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def ink(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Black or white, whichever is the more legible on the colour."""
    return max((0, 0, 0), (255, 255, 255), key=lambda letters: contrast(letters, colour))


def css(colour: tuple[int, int, int]) -> str:
    return '#{:02x}{:02x}{:02x}'.format(*colour)
