"""Images and the expressions about them, gathered for the network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .answers import Question
from .image_pipeline import ImageError, ImagePipeline, PreparedImage
from .questions import ImageInput


@dataclass
class Batch:
    """Some images with all expressions about them, in the order of the inputs.

    Attributes:
        images: Those that could be read.
        questions: About these images, and about some that could not be read.
        image_of: Of each question, its image among ``images``; None if it can't be asked.
        errors: Of each question, why; None if it can.
    """

    images: list[PreparedImage] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    image_of: list[int | None] = field(default_factory=list)
    errors: list[str | None] = field(default_factory=list)

    @property
    def asked(self) -> list[int]:
        """Which questions go to the network."""
        return [i for i, image in enumerate(self.image_of) if image is not None]

    def add(self, question: Question, image: int | None = None, error: str | None = None) -> None:
        self.questions.append(question)
        self.image_of.append(image)
        self.errors.append(error)


def batches(
    images: Sequence[ImageInput], asked: Sequence[Sequence[str]], pipeline: ImagePipeline, batch_size: int
) -> Iterator[Batch]:
    """All images with all their expressions: each image in one batch, each batch of ``batch_size`` or more questions.

    So an image is decoded once, and looked at once, however many expressions there are about it.
    """
    batch = Batch()
    for index, (image, expressions) in enumerate(zip(images, asked)):
        name = str(image) if isinstance(image, str | Path) else index
        prepared, trouble = None, None
        sensible = [text for text in expressions if text.strip()]
        if sensible:
            try:
                prepared = pipeline(image, sensible[0])
                batch.images.append(prepared)
            except ImageError as error:
                trouble = str(error)
        for text in expressions:
            question = Question(name, index, text)
            if not text.strip():
                batch.add(question, error='the expression is empty.')
            elif prepared is None:
                batch.add(question, error=trouble)
            else:
                batch.add(question, image=len(batch.images) - 1)
        if len(batch.asked) >= batch_size:
            yield batch
            batch = Batch()
    if batch.questions:
        yield batch
