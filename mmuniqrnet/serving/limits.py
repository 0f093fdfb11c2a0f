"""How much a request may ask for, and for how long it may last."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mmuniqrnet.utils.errors import UserError

from .uploads import PictureLimits


@dataclass(frozen=True)
class Limits:
    """The limits of the server.

    Attributes:
        picture: Limits on an uploaded picture.
        expressions: Expressions of a request.
        characters: Characters of an expression.
        queue: Requests that wait for the model.
        batch: Expressions that go through the network at a time.
        wait: Seconds for which the first request of a batch waits for others.
        timeout: Seconds from the head of a request to its answer.
        head: Seconds in which the head of a request has to arrive.
        write: Seconds in which a client has to take its answer.
    """

    picture: PictureLimits = field(default_factory=PictureLimits)
    expressions: int = 16
    characters: int = 300
    queue: int = 64
    batch: int = 16
    wait: float = 0.005
    timeout: float = 30.0
    head: float = 10.0
    write: float = 10.0

    @property
    def upload(self) -> int:
        """Bytes of a picture file."""
        return int(self.picture.megabytes * 2**20)

    @property
    def memory(self) -> int:
        """Bytes of the bodies of all requests together: 16 uploads of the largest size."""
        return 16 * self.upload

    @property
    def batch_pixels(self) -> int:
        """Pixels of the pictures of a batch, counted once per expression: masks have the size of their pictures."""
        return int(4 * self.picture.megapixels * 1e6)

    def body(self, is_json: bool) -> int:
        """Bytes of a request's body: the picture, a third more in base64, and room for the expressions."""
        room = 2**16 + self.expressions * (12 * self.characters + 512)  # JSON may need 12 bytes for a character
        return (-(-self.upload // 3) * 4 if is_json else self.upload) + room


def check_expressions(expressions: Sequence[str], most: int, characters: int, noun: str = 'expression') -> list[str]:
    """The expressions with single spaces between their words.

    Args:
        expressions: As a client gives them.
        most: How many there may be.
        characters: How long each may be.
        noun: What messages call them.

    Raises:
        UserError: There are too many, or one is empty or too long.
    """
    if len(expressions) > most:
        raise UserError(f'These are {len(expressions)} {noun}s: ask at most {most} at a time.')
    checked = [' '.join(expression.split()) for expression in expressions]
    for number, expression in enumerate(checked, 1):
        if not expression:
            raise UserError(f'{noun.capitalize()} {number} is empty: write what to look for.')
        if len(expression) > characters:
            raise UserError(
                f'{noun.capitalize()} {number} has {len(expression)} characters: shorten it to at most {characters}.'
            )
    return checked
