"""Which expressions forbid a crop or a flip, and what the others become when the image is flipped."""

from collections.abc import Iterable
from dataclasses import dataclass

from mmuniqrnet.datasets.transforms import GuardedCrop, RandomFlipWithText
from mmuniqrnet.utils.errors import UserError


@dataclass(frozen=True)
class AugmentedTexts:
    """What crops and flips do with expressions.

    Attributes:
        total: Number of expressions.
        exchanged: Expressions that a flip changes, each with what it becomes.
        not_flipped: Expressions whose image is never flipped; empty if the pipeline does not flip.
        not_cropped: Expressions whose image is never cropped; empty if the pipeline does not crop.
    """

    total: int
    exchanged: list[tuple[str, str]]
    not_flipped: list[str]
    not_cropped: list[str]


def augmented_texts(expressions: Iterable[str], transforms: Iterable) -> AugmentedTexts:
    """Sort expressions by what the ``GuardedCrop`` and the ``RandomFlipWithText`` of a pipeline do with them.

    Raises:
        UserError: ``transforms`` has neither, or there are no expressions.
    """
    texts, steps = list(expressions), list(transforms)
    crops = [step for step in steps if isinstance(step, GuardedCrop)]
    flips = [step for step in steps if isinstance(step, RandomFlipWithText)]
    if not crops and not flips:
        raise UserError(
            'the pipeline has neither GuardedCrop nor RandomFlipWithText; give the part that is trained on.'
        )
    if not texts:
        raise UserError('there are no expressions to count.')
    mirrored = [(text, flip.mirrored(text)) for flip in flips for text in texts]
    return AugmentedTexts(
        total=len(texts),
        exchanged=[(text, other) for text, other in mirrored if other is not None and other != text],
        not_flipped=[text for text, other in mirrored if other is None],
        not_cropped=[text for crop in crops for text in texts if crop.forbids(text)],
    )
