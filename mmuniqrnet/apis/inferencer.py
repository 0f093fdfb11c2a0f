import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.infer import BaseInferencer
from mmengine.registry import MODELS, DefaultScope
from mmengine.utils import ProgressBar

from mmuniqrnet.checkpoints import check_fit, state_dict_of
from mmuniqrnet.checkpoints.carried_config import changed_options
from mmuniqrnet.datasets.refshapes.scene_file import is_scene
from mmuniqrnet.models import UniQRNet
from mmuniqrnet.models.gate_recording import gate_maps, maps_on_image, record_gates
from mmuniqrnet.structures import Placement
from mmuniqrnet.structures.answers import Answer, check_refuse_below, without_low_score
from mmuniqrnet.structures.shared_images import image_rows, take_rows
from mmuniqrnet.utils.errors import CheckpointError, UserError, first_line
from mmuniqrnet.utils.orientation import Orientation, check_orientation
from mmuniqrnet.utils.shipped import SHAPES
from mmuniqrnet.visualization import draw_answer

from .image_pipeline import ImagePipeline
from .inputs import Batch, ImageInput, batches, list_images, pair
from .outputs import AnswerFolder, failure, to_dict
from .reading import ExpressionReader, Reading, text_of, warn_of_unread
from .shipped import config_and_checkpoint


class UniQRNetInferencer(BaseInferencer):
    """Applies a trained network to images: for each expression it gives one box, one mask and one score.

    ::

        ask = UniQRNetInferencer()  # the small model for photographs that is part of the package
        found = ask('photo.jpg', ['the person on the left', 'the second car'])['predictions']

    Each image is decoded and prepared once, by the test pipeline of the config, and image features that do not depend
    on the text are computed once, for any number of expressions. So are text features of an expression about several
    images, and answers to an expression that is repeated, within a batch.

    Args:
        model: A config or its file; None = the config inside the weights, which published weights and mmengine's
            checkpoints contain.
        weights: A ``.safetensors`` or ``.pth`` file, or the name of a shipped model, ``'photos'`` or ``'shapes'``. None
            (only if ``model`` is None, too) = ``'photos'``, except for PNG files made by ``mmuniqrnet scene``, which
            say so in their metadata: ``'shapes'`` answers about them.
        device: Such as ``'cuda:0'``; None = the best one available.
        scope: The registry scope for types without one; None = the config's ``default_scope``.
        show_progress: Whether to show a progress bar, on stderr.

    Attributes:
        name: The weights as they were named; the predictions carry it as ``model``.
        made_for: The kind of pictures that the weights were made for, from their metadata; None if not given.
        words: The words of the training text, separated by white space, that are kept with the weights; None if there
            are none.

    Raises:
        UserError: Config or weights can't be read or don't fit each other, or there is no such device.
    """

    def __init__(
        self,
        model: str | Path | Config | Mapping[str, Any] | None = None,
        weights: str | Path | None = None,
        device: str | None = None,
        scope: str | None = None,
        show_progress: bool = True,
    ) -> None:
        _check_device(device)
        self._asks_others_about_scenes = weights is None
        self._for_scenes: UniQRNetInferencer | None = None
        self._device = device
        cfg, self._checkpoint, weights = config_and_checkpoint(model, weights)
        self.name = weights
        meta = self._checkpoint.get('meta') or {}
        self.made_for, self.words = text_of(meta, 'made_for'), text_of(meta, 'words')
        scope = scope or cfg.default_scope
        # Only temporarily, because the default scope is global to the process.
        with DefaultScope.overwrite_default_scope(scope):
            super().__init__(cfg, weights, device, scope, show_progress)
        self.read = ExpressionReader(self.model.text_encoder, self.words)
        self.refuse_below: float | None = cfg.get('test_evaluator', {}).get('refuse_below')
        check_refuse_below(self.refuse_below, 'test_evaluator.refuse_below of the config')

    def __call__(
        self,
        inputs: ImageInput | Sequence[ImageInput],
        expressions: str | Sequence[str] | Sequence[Sequence[str]],
        batch_size: int = 16,
        *,
        return_datasamples: bool = False,
        return_gates: bool = False,
        refuse_below: float | None = None,
        orientation: Orientation = 'upright',
        out_dir: str | Path = '',
        draw: bool = False,
    ) -> dict[str, list]:
        """Answer expressions about images.

        An error in a single image or expression is reported in its prediction, and does not affect the others. Names
        and expressions that are not valid Unicode are refused before the first answer.

        Args:
            inputs: An image, a folder, or a list of them. An image is a file, a PIL image, or an array, RGB uint8
                [H, W, 3]: **RGB**, unlike what OpenCV and mmcv read.
            expressions: One expression for every image; or a list: for one image, all its expressions; for several,
                one entry per image (an expression, or a list of them).
            batch_size: How many expressions go through the network at a time; neighbouring images of the same model
                form batches.
            return_datasamples: Whether the predictions are mmdet's ``DetDataSample`` with ``pred_instances`` in
                original pixels, and ``refused``, ``image_index`` and ``model`` as metainfo.
            return_gates: Whether to add the spatial gates.
            refuse_below: Answers with a lower score are refused; None = the value of the config's ``test_evaluator``,
                or no refusal if it has none.
            orientation: ``'upright'`` turns images as their EXIF orientation says, as people see them; ``'stored'``
                takes the pixels as they are stored, as ``tools/test.py`` does. Boxes, masks, gates and pictures are in
                the same frame.
            out_dir: A folder for ``predictions.json``, ``masks/*.png`` (0 and 255, in the image's size) and, if
                they are drawn, ``pictures/*.png``. It must not contain such files yet. After an error or Ctrl+C, it
                has the answers that were given before.
            draw: Whether to draw the answers.

        Returns:
            ``predictions``: one for each pair of image and expression, in the order of the inputs, image by image: the
            dictionary of :func:`mmuniqrnet.apis.outputs.to_dict`, with ``model``, the name of the weights, and, if
            there is an ``out_dir``, the names of the files; or, after an error, a dictionary with ``error``.
            ``visualization``: as many pictures, RGB uint8, None after an error; empty if nothing is drawn.

        Warns:
            UserWarning: If an expression is too long and therefore cut, or has words that the network does not know.

        Raises:
            ValueError: Images and expressions differ in number, there are none, a path or an expression is not valid
                Unicode, ``batch_size`` is not positive, or ``refuse_below`` is not from 0 to 1.
            TypeError: An expression is not a str.
            FileExistsError: ``out_dir`` already contains answers.
        """
        if batch_size < 1:
            raise UserError(f'batch_size should be a positive number of expressions, not {batch_size}.')
        check_refuse_below(refuse_below)
        check_orientation(orientation)
        images = self._inputs_to_list(inputs)
        asked = pair(images, expressions)
        answering = [self.for_image(image) for image in images]
        folder = AnswerFolder(out_dir) if out_dir else None
        bar = ProgressBar(sum(map(len, asked)), file=sys.stderr) if self.show_progress else None
        results: dict[str, list] = dict(predictions=[], visualization=[])
        readings = {}
        for model in dict.fromkeys(answering):
            texts = [texts for one, texts in zip(answering, asked) if one is model]
            readings[model] = {text: model.read(text) for text in chain(*texts) if text.strip()}
            warn_of_unread(readings[model], model.read, model.made_for)
        start, complete = 0, False
        try:
            for model, same in groupby(answering):
                stop = start + len(list(same))
                threshold = model.refuse_below if refuse_below is None else refuse_below
                for batch in model.preprocess(images[start:stop], asked[start:stop], batch_size, orientation, start):
                    samples = model.forward(batch, batch_size, return_gates)
                    _keep_readings(samples, readings[model])
                    pictures = model.visualize(batch, samples, threshold) if draw else []
                    results['predictions'] += model.postprocess(
                        batch, samples, pictures, threshold, return_datasamples, folder
                    )
                    results['visualization'] += pictures
                    if bar is not None:
                        bar.update(len(batch.questions))
                start = stop
            complete = True
        finally:
            if bar is not None:
                print(file=sys.stderr)
            # After an error or Ctrl+C, answers are kept, and a folder without any can be named again.
            if folder is not None and (complete or folder.answers):
                folder.finish(made_for_of(answering))
        return results

    def for_image(self, image: ImageInput) -> 'UniQRNetInferencer':
        """What answers about an image: this inferencer, or that of the shapes if no weights were named; see above."""
        if not (self._asks_others_about_scenes and is_scene(image)):
            return self
        if self._for_scenes is None:
            self._for_scenes = UniQRNetInferencer(weights=SHAPES, device=self._device, show_progress=False)
        return self._for_scenes

    def named(self, name: str) -> 'UniQRNetInferencer':
        """The inferencer that gave a prediction whose ``model`` is ``name``."""
        return self._for_scenes if self._for_scenes is not None and name == self._for_scenes.name else self

    def preprocess(
        self,
        images: list[ImageInput],
        asked: list[list[str]],
        batch_size: int,
        orientation: Orientation = 'upright',
        first: int = 0,
    ) -> Iterator[Batch]:
        """Decode and prepare the images, each once; ``first`` is the number of the first of them."""
        return batches(images, asked, self.pipeline, batch_size, orientation, first)

    @torch.no_grad()
    def forward(self, batch: Batch, batch_size: int, return_gates: bool = False) -> list[DetDataSample | None]:
        """The answer to each question of a batch; None for questions whose image or expression is unusable.

        A question that is asked several times is computed once.
        """
        answers: list[DetDataSample | None] = [None] * len(batch.questions)
        if not batch.asked:
            return answers
        packed = [dict(inputs=image.inputs, data_samples=image.data_sample) for image in batch.images]
        data = self.model.data_preprocessor(self.collate_fn(packed), False)
        features = take_rows(self.model.look(data['inputs']), image_rows(data['inputs'], data['data_samples']))
        first: dict[tuple[int | None, str], int] = {}
        for i in batch.asked:
            first.setdefault((batch.image_of[i], batch.questions[i].expression), i)
        parts = -(-len(first) // batch_size)  # array_split makes parts of similar size, at most batch_size
        for part in np.array_split(list(first.values()), parts):
            image_of = [batch.image_of[i] for i in part]
            samples = [data['data_samples'][image].new() for image in image_of]
            for i, sample in zip(part, samples):
                sample.set_metainfo(dict(text=batch.questions[i].expression))
            with record_gates(self.model) if return_gates else nullcontext() as recorded:
                samples = self.model.answer(features.of(torch.tensor(image_of, device=data['inputs'].device)), samples)
            if recorded is not None:
                _keep_gates(samples, recorded)
            for i, sample in zip(part, samples):
                answers[i] = sample.cpu()
        for i in batch.asked:
            answer = answers[first[batch.image_of[i], batch.questions[i].expression]]
            if answers[i] is None and answer is not None:
                answers[i] = answer.clone()
        return answers

    def visualize(
        self, batch: Batch, samples: list[DetDataSample | None], refuse_below: float | None = None
    ) -> list[np.ndarray | None]:
        """Pictures of the answers, RGB uint8."""
        pictures: list[np.ndarray | None] = []
        for question, image, sample in zip(batch.questions, batch.image_of, samples):
            if sample is None or image is None:
                pictures.append(None)
                continue
            answer, note = Answer.of_prediction(sample.pred_instances), ''
            if refuse_below is not None and answer is not None:
                answer, note = without_low_score(answer, refuse_below)
            pictures.append(draw_answer(batch.images[image].picture, question.expression, prediction=answer, note=note))
        return pictures

    def postprocess(
        self,
        batch: Batch,
        samples: list[DetDataSample | None],
        pictures: Sequence[np.ndarray | None] = (),
        refuse_below: float | None = None,
        return_datasamples: bool = False,
        folder: AnswerFolder | None = None,
    ) -> list[dict[str, Any] | DetDataSample]:
        """The predictions of a batch; they are also written to ``folder``, if it is given."""
        predictions: list[dict[str, Any] | DetDataSample] = []
        for i, (question, sample) in enumerate(zip(batch.questions, samples)):
            if sample is None:
                answer = failure(question, batch.errors[i] or 'there is no answer.')
            else:
                answer = to_dict(question, sample, refuse_below)
                if 'error' not in answer:
                    answer['model'] = self.name
            if folder is not None:
                answer = folder.add(question, answer, pictures[i] if pictures else None)
            if return_datasamples and sample is not None and 'error' not in answer:
                sample.set_metainfo(dict(image_index=question.image_index, refused=answer['refused'], model=self.name))
                predictions.append(sample)
            else:
                predictions.append(answer)
        return predictions

    def _inputs_to_list(self, inputs: ImageInput | Sequence[ImageInput]) -> list[ImageInput]:
        return list_images(inputs)

    def _init_model(self, cfg: Config, weights: str, device: str) -> UniQRNet:
        try:
            model = MODELS.build(cfg.model)
        except KeyError as error:  # the registry raises this for an unknown name
            raise UserError(
                f'the model cannot be built: {str(error).split(". ")[0]}; import the package that registers it first.'
            ) from error
        if not isinstance(model, UniQRNet):
            raise UserError(f'the model of the config is a {type(model).__name__}; this inferencer needs a UniQRNet.')
        state = state_dict_of(self._checkpoint, weights)
        different = changed_options(self._checkpoint, cfg.model, weights)
        if different:
            warnings.warn(
                f'{weights} was trained with {", ".join(different)}; with other values its answers are '
                'wrong: set these options as in its training.',
                stacklevel=2,
            )
        del self._checkpoint  # it may be large, and only the weights are needed
        try:
            # Inference needs all weights except those that only training uses.
            fit = check_fit(state, model.state_dict(), share=1.0, required=None, new=('head.pixel_guidance.',))
        except CheckpointError as error:
            raise CheckpointError(f'{weights} does not fit the model: {error}.') from None
        model.load_state_dict({name: state[name] for name in fit.matched}, strict=False)
        model.cfg = cfg
        return model.to(device).eval()

    def _init_pipeline(self, cfg: Config) -> ImagePipeline:
        return ImagePipeline(cfg.test_dataloader.dataset.pipeline)

    def _init_visualizer(self, cfg: Config) -> None:
        """No visualizer: the inferencer itself returns and writes pictures, without mmengine's visualizer."""


def made_for_of(answering: Sequence[UniQRNetInferencer]) -> str | None:
    """What the models that answer were made for, each once; None if that is not known."""
    return '; '.join(dict.fromkeys(model.made_for for model in answering if model.made_for)) or None


def _keep_readings(samples: list[DetDataSample | None], readings: dict[str, Reading]) -> None:
    """Put the words that the network does not know into the samples' metainfo, as ``unknown_words``."""
    for sample in samples:
        if sample is not None:
            sample.set_metainfo(dict(unknown_words=readings[sample.text].unknown))


def _keep_gates(samples: list[DetDataSample], recorded: dict[str, torch.Tensor]) -> None:
    """Put the spatial gates into the samples' metainfo, as ``gates``: float [H, W] by name, of the image's size."""
    maps = gate_maps(recorded, tuple(samples[0].batch_input_shape))
    for i, sample in enumerate(samples):
        sample.set_metainfo(dict(gates=maps_on_image(maps, Placement.of(sample), i)))


def _check_device(device: str | None) -> None:
    try:
        kind = torch.device('cpu' if device is None else device).type
    except RuntimeError:
        raise UserError(f"there is no device {device!r}; name one as 'cpu' or 'cuda:0'.") from None
    if kind == 'cuda' and not torch.cuda.is_available():
        raise UserError(f'the device {device} is not available: torch finds no CUDA GPU.')
    try:
        torch.zeros(1, device=device).cpu()
    except Exception as error:  # its type depends on the kind of device, and on how torch was built
        reason = first_line(error).split('. ')[0].rstrip('.!')  # PyTorch goes on for many lines
        raise UserError(f'the device {device} is not available: {reason}.') from None
