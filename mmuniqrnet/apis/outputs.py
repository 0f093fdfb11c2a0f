"""Answers as dictionaries, in pixels of the original images, and the folder they are written to."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.structures import DetDataSample
from PIL import Image

from mmuniqrnet.structures.answers import is_refused
from mmuniqrnet.structures.masks import decode_mask, encode_mask
from mmuniqrnet.utils.errors import OverwriteError
from mmuniqrnet.utils.io import atomic_path, safe_name, unique_name

from .inputs import Question


def to_dict(question: Question, sample: DetDataSample, refuse_below: float | None = None) -> dict[str, Any]:
    """The answer of one expression; all but ``gates`` can be written as JSON.

    Args:
        question: The image and the expression.
        sample: Its metainfo has ``ori_shape``, ``frame`` and optionally ``unknown_words`` and ``gates`` (float [H, W]
            by name), its ``pred_instances`` one answer in pixels of that frame.
        refuse_below: An answer with a lower score is refused; None = none is.

    Returns:
        ``image``, ``image_index``, ``expression``; ``size`` [H, W] of the image; ``frame``: ``'upright'`` if size, box,
        mask and gates refer to the image turned as its EXIF orientation says, ``'stored'`` if to the pixels as they
        are stored; ``box`` [x1, y1, x2, y2], ``score`` and ``mask`` (COCO's compressed RLE, counts as str), each None
        if the network gives none; ``refused``: if so, box and mask are None; ``unknown_words``: those of the
        expression that the network does not know, None if that is not known; ``gates`` if the sample has them. If the
        network's numbers are not finite, ``error`` instead.
    """
    height, width = sample.ori_shape[:2]
    found = sample.pred_instances
    score = float(found.scores[0]) if 'scores' in found else None
    box = found.bboxes[0].tolist() if 'bboxes' in found else None
    if not np.isfinite([*(box or []), score or 0.0]).all():
        return failure(question, f'the network gives box {box} and score {score}: its weights are unusable.')
    refused = is_refused(score, refuse_below)
    mask = encode_mask(found.masks[0].cpu().numpy()) if 'masks' in found and not refused else None
    answer = dict(
        **question._asdict(),
        size=[int(height), int(width)],
        frame=sample.frame,
        box=None if refused else box,
        score=score,
        refused=refused,
        mask=mask,
        unknown_words=sample.get('unknown_words'),
    )
    return answer | dict(gates=sample.gates) if 'gates' in sample else answer


def refuse(predictions: Sequence[Mapping[str, Any]], below: float | None) -> list[dict[str, Any]]:
    """The predictions as the inferencer gives them with ``refuse_below=below``, from those with nothing refused."""
    return [
        dict(p, refused=True, box=None, mask=None) if is_refused(p.get('score'), below) else dict(p)
        for p in predictions
    ]


def failure(question: Question, error: str) -> dict[str, Any]:
    """The dictionary that replaces an answer after an error."""
    return dict(**question._asdict(), error=error)


INDEX, MASKS, PICTURES = 'predictions.json', 'masks', 'pictures'


class AnswerFolder:
    """``predictions.json``, ``masks/*.png`` and ``pictures/*.png`` in a folder that contains none of them yet.

    Args:
        folder: A folder, created if it is missing; other files in it are not changed.

    Attributes:
        answers: What was added so far, without gates, which are large.

    Raises:
        OverwriteError: If it already contains answers, or ``folder`` is a file.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        if self.folder.exists() and not self.folder.is_dir():
            raise OverwriteError(f'{folder} is a file, not a folder; name a new folder.')
        for name in (INDEX, MASKS, PICTURES):
            if (self.folder / name).exists():
                raise OverwriteError(f'{folder} contains {name}, and nothing is overwritten; name a new folder.')
        self.folder.mkdir(parents=True, exist_ok=True)
        self._names: set[str] = set()
        self.answers: list[dict[str, Any]] = []

    def add(self, question: Question, answer: dict[str, Any], picture: np.ndarray | None = None) -> dict[str, Any]:
        """Write an answer's mask, 0 and 255 in the image's size, and its picture, RGB uint8.

        Returns:
            The answer, with ``mask_file`` and ``picture_file``, relative to the folder, if these files were written.
        """
        name, files = self._name(question), {}
        try:
            if answer.get('mask') is not None:
                mask = decode_mask(answer['mask'], *answer['mask']['size'])
                files['mask_file'] = self._write(MASKS, name, mask * np.uint8(255))
            if picture is not None:
                files['picture_file'] = self._write(PICTURES, name, picture)
        except BaseException:  # also Ctrl+C: no file is left without its answer
            for kind in (MASKS, PICTURES):
                self._remove(kind, name)
            raise
        answer = answer | files
        self.answers.append({key: value for key, value in answer.items() if key != 'gates'})
        return answer

    def finish(self, made_for: str | None = None) -> None:
        """Write ``predictions.json``, whole or not at all.

        Args:
            made_for: What the network was made for, if that is known.
        """
        content = (to_json(self.answers, made_for) + '\n').encode()
        with atomic_path(self.folder / INDEX) as part:
            part.write_bytes(content)

    def _write(self, kind: str, name: str, pixels: np.ndarray) -> str:
        (self.folder / kind).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(self.folder / kind / name)
        return f'{kind}/{name}'

    def _remove(self, kind: str, name: str) -> None:
        (self.folder / kind / name).unlink(missing_ok=True)
        if (self.folder / kind).is_dir() and not any((self.folder / kind).iterdir()):
            (self.folder / kind).rmdir()

    def _name(self, question: Question) -> str:
        """A readable file name that no earlier answer has."""
        image = question.image
        stem = Path(image).stem if isinstance(image, str) else f'image{image}'
        return unique_name(f'{safe_name(stem, 60)}_{safe_name(question.expression, 120)}.png', self._names)


def to_json(predictions: list[dict[str, Any]], made_for: str | None = None) -> str:
    """Answers as JSON, one line each, for ``predictions.json`` and ``mmuniqrnet ground --json``.

    If it is known what the network was made for, ``made_for`` precedes them.
    """
    lines = ',\n'.join(json.dumps(answer, ensure_ascii=False, allow_nan=False) for answer in predictions)
    before = '' if made_for is None else f'"made_for": {json.dumps(made_for, ensure_ascii=False)},\n'
    return f'{{{before}"predictions": [\n{lines}\n]}}'
