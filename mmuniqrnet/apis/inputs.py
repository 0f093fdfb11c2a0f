"""Inputs of the inferencer: images, the expressions about each, and how they are grouped into batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from mmuniqrnet.datasets.annotation_files import NOT_UNICODE, is_unicode
from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.orientation import Orientation

from .image_pipeline import ImageError, ImageInput, ImagePipeline, PreparedImage


class Question(NamedTuple):
    """One expression about one image.

    Attributes:
        image: The path of the image, or its index if it is not a file.
        image_index: Its index among all images.
        expression: The expression.
    """

    image: str | int
    image_index: int
    expression: str


def list_images(inputs: ImageInput | Sequence[ImageInput]) -> list[ImageInput]:
    """The images one by one, with folders replaced by the files in them, in the order of their names.

    Hidden files and subfolders are skipped; any other file is listed, even if it is not an image.

    Raises:
        ValueError: If there is none, or if a path is not valid UTF-8.
    """
    given = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    if not given:
        raise UserError('inputs is an empty list; give one image or more.')
    images: list[ImageInput] = []
    for image in given:
        if not isinstance(image, str | Path) or not Path(image).is_dir():
            images.append(image)
            continue
        files = sorted(path for path in Path(image).iterdir() if path.is_file() and not path.name.startswith('.'))
        if not files:
            raise UserError(f'the folder {image} has no file in it.')
        images.extend(str(path) for path in files)
    for image in images:
        # Python reads such names from the file system, but no answer that names the image can be printed or written.
        if isinstance(image, str | Path) and not is_unicode(str(image)):
            raise UserError(f'the path {str(image)!a} is not valid UTF-8, so no answer can name it: rename it.')
    return images


def pair(images: Sequence[ImageInput], expressions: str | Sequence[str] | Sequence[Sequence[str]]) -> list[list[str]]:
    """The expressions about each of the images.

    Args:
        images: As :func:`list_images` gives them.
        expressions: One expression for every image; or a list: for one image, all its expressions; for several, one
            entry per image (an expression, or a list of them).

    Raises:
        ValueError: If images and expressions differ in number, or an expression is not valid Unicode.
        TypeError: If an expression is not a str.
    """
    paired = _by_image(images, expressions)
    for text in dict.fromkeys(chain(*paired)):
        if not is_unicode(text):
            raise UserError(f'the expression {text!r} {NOT_UNICODE}.')
    return paired


def _by_image(
    images: Sequence[ImageInput], expressions: str | Sequence[str] | Sequence[Sequence[str]]
) -> list[list[str]]:
    if isinstance(expressions, str):
        return [[expressions] for _ in images]
    if not isinstance(expressions, list | tuple):
        raise TypeError(
            f'expressions should be a str, a list of str or a list of lists of str, not a {type(expressions).__name__}.'
        )
    if len(images) == 1 and all(isinstance(expression, str) for expression in expressions):
        return [list(expressions)]
    if len(expressions) != len(images):
        raise UserError(
            f'there are {len(images)} images and expressions for {len(expressions)}; give one entry per '
            'image (a str, or a list of str), or one str for all.'
        )
    paired = [[entry] if isinstance(entry, str) else entry for entry in expressions]
    for index, entry in enumerate(paired):
        if not isinstance(entry, list | tuple) or not all(isinstance(expression, str) for expression in entry):
            raise TypeError(f'the expressions of image {index} are {entry!r}; they should be a str or a list of str.')
    return [list(entry) for entry in paired]


@dataclass
class Batch:
    """Some images with all expressions about them, in the order of the inputs.

    Attributes:
        images: Those that could be read.
        questions: The questions about these images, and about images that could not be read.
        image_of: For each question, the index of its image in ``images``; None if it can't be answered.
        errors: For each question, why it can't be answered; None if it can.
    """

    images: list[PreparedImage] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    image_of: list[int | None] = field(default_factory=list)
    errors: list[str | None] = field(default_factory=list)

    @property
    def asked(self) -> list[int]:
        """The indices of the questions that the network answers."""
        return [i for i, image in enumerate(self.image_of) if image is not None]

    def add(self, question: Question, image: int | None = None, error: str | None = None) -> None:
        self.questions.append(question)
        self.image_of.append(image)
        self.errors.append(error)


def batches(
    images: Sequence[ImageInput],
    asked: Sequence[Sequence[str]],
    pipeline: ImagePipeline,
    batch_size: int,
    orientation: Orientation = 'upright',
    first: int = 0,
) -> Iterator[Batch]:
    """All images with all their expressions: each image in one batch, each batch of ``batch_size`` or more questions.

    An image is therefore decoded and encoded only once, however many expressions refer to it, also if it is given
    several times within a batch (a path, or the same object). ``first`` is the number of the first image.
    """
    batch = Batch()
    place_of: dict[str | int, int] = {}  # path, or id of the object -> place in the batch's images
    for index, (image, expressions) in enumerate(zip(images, asked), first):
        name = str(image) if isinstance(image, str | Path) else index
        same = name if isinstance(name, str) else id(image)
        place, trouble = place_of.get(same), None
        sensible = [text for text in expressions if text.strip()]
        if sensible and place is None:
            try:
                batch.images.append(pipeline(image, sensible[0], orientation))
                place = place_of[same] = len(batch.images) - 1
            except ImageError as error:
                trouble = str(error)
        for text in expressions:
            question = Question(name, index, text)
            if not text.strip():
                batch.add(question, error='the expression is empty.')
            elif place is None:
                batch.add(question, error=trouble)
            else:
                batch.add(question, image=place)
        if len(batch.asked) >= batch_size:
            yield batch
            batch, place_of = Batch(), {}
    if batch.questions:
        yield batch
