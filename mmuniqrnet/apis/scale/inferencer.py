"""The inferencer as an actor of Ray Data."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mmuniqrnet.apis.image_pipeline import ImagePipeline, PreparedImage
from mmuniqrnet.apis.inferencer import UniQRNetInferencer
from mmuniqrnet.apis.inputs import Question
from mmuniqrnet.apis.outputs import failure
from mmuniqrnet.utils.orientation import Orientation

from .parts import answer_table
from .rows import Row

if TYPE_CHECKING:
    import pyarrow as pa


class RayInferencer:
    """Predicts for rows of images and expressions; a callable class for ``ray.data.Dataset.map_batches``.

    ::

        answers = ray.data.read_parquet('expressions').map_batches(
            RayInferencer,
            fn_constructor_kwargs=dict(weights='my_model.safetensors', root='photos', device='cpu', threads=1),
            compute=ray.data.ActorPoolStrategy(size=2),
            num_cpus=1,
            batch_size=256,
        )
        answers.write_parquet('answers')

    The model is loaded once for each actor. Rows of a batch that have the same image are processed together, so that
    the image is decoded and encoded once.

    Args:
        model, weights, device: See :class:`mmuniqrnet.apis.UniQRNetInferencer`.
        batch_size: How many expressions go through the network at a time; not more than the rows of a batch.
        refuse_below, orientation: As in a call of :class:`mmuniqrnet.apis.UniQRNetInferencer`.
        root: The folder that relative paths of images are relative to; None = the working folder of the actor.
        threads: How many threads torch uses on the CPU; None = as many as it chooses.

    Raises:
        UserError: Config or weights can't be read or don't fit each other, or there is no such device.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        weights: str | Path | None = None,
        device: str | None = None,
        batch_size: int = 16,
        refuse_below: float | None = None,
        orientation: Orientation = 'upright',
        root: str | Path | None = None,
        threads: int | None = None,
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self.ask = UniQRNetInferencer(model, weights, device, show_progress=False)
        self.ask.pipeline = self.decoding = TimedPipeline(self.ask.pipeline)
        self.batch_size = batch_size
        self.refuse_below, self.orientation = refuse_below, orientation
        self.root = Path.cwd() if root is None else Path(root)

    def __call__(self, batch: Mapping[str, np.ndarray]) -> 'pa.Table':
        """Answer a batch.

        Args:
            batch: ``image``: paths; ``expressions``: a str or a sequence of str for each; ``row`` (optional): numbers
                that go into the answers' ``key``, by default the place in the batch. Other columns are not read.

        Returns:
            The columns of :func:`mmuniqrnet.apis.scale.parts.answer_schema`, one row for each expression.
        """
        images, texts = batch['image'], batch['expressions']
        numbers = batch.get('row', range(len(images)))
        rows = [
            Row(int(number), str(image), [text] if isinstance(text, str) else [str(one) for one in text])
            for number, image, text in zip(numbers, images, texts)
        ]
        return answer_table(self.answer(rows))

    def answer(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """An answer, or an error, for each expression of each row, in this order.

        Returns:
            Dictionaries as :class:`mmuniqrnet.apis.UniQRNetInferencer` gives them, with ``key``, and with ``kept``, the
            part of a too long expression that is read.
        """
        asked: dict[str, list[str]] = {}
        places: dict[str, list[tuple[int, int]]] = {}
        for i, row in enumerate(rows):
            for n, text in enumerate(row.expressions):
                asked.setdefault(row.image, []).append(text)
                places.setdefault(row.image, []).append((i, n))
        answers = {}
        # The inferencer would take a folder for its images.
        folders = {image for image in asked if (self.root / image).is_dir()}
        images = [image for image in asked if image not in folders]
        for answer, place in zip(self._ask(images, asked), (place for image in images for place in places[image])):
            answers[place] = answer
        for image in folders:
            for place, text in zip(places[image], asked[image]):
                answers[place] = failure(Question(image, 0, text), f'{image} is a folder, not an image.')
        return [
            dict(answers[i, n], key=f'{row.row}_{n}', image=row.image)
            for i, row in enumerate(rows)
            for n in range(len(row.expressions))
        ]

    def _ask(self, images: list[str], asked: Mapping[str, list[str]]) -> list[dict[str, Any]]:
        if not images:
            return []
        texts = [asked[image] for image in images]
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', UserWarning)  # about unread words, which are in the answers
            answers = self.ask(
                [str(self.root / image) for image in images],
                texts,
                self.batch_size,
                refuse_below=self.refuse_below,
                orientation=self.orientation,
            )
        return [
            answer
            if 'error' in answer
            else dict(answer, kept=self.ask.named(answer['model']).read(answer['expression']).kept)
            for answer in answers['predictions']
        ]


class TimedPipeline:
    """An image pipeline that adds up the seconds it takes.

    Args:
        pipeline: What prepares the images.

    Attributes:
        seconds: So far.
    """

    def __init__(self, pipeline: ImagePipeline) -> None:
        self.pipeline = pipeline
        self.seconds = 0.0

    def __call__(self, *args: Any) -> PreparedImage:
        start = perf_counter()
        try:
            return self.pipeline(*args)
        finally:
            self.seconds += perf_counter() - start
