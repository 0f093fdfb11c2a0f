"""What answers the requests: the torch network, or an exported one."""

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mmuniqrnet.export.predictor import OnnxPredictor
from mmuniqrnet.utils.errors import UserError

if TYPE_CHECKING:
    from mmuniqrnet.apis import UniQRNetInferencer

Prediction = dict[str, Any]


class ServedModel(Protocol):
    """A model as the server asks it.

    Attributes:
        name: The model, in words.
        made_for: The kind of pictures that it was made for; None if that is not known.
        refuse_below: Answers with a lower score are refused, unless a request says otherwise; None = none is.
    """

    name: str
    made_for: str | None
    refuse_below: float | None

    def __call__(
        self, pictures: Sequence[np.ndarray], expressions: Sequence[Sequence[str]], batch_size: int
    ) -> list[list[Prediction]]:
        """For each picture (RGB uint8 [H, W, 3]), the inferencer's dictionary for each of its expressions.

        None of them is refused, whatever its score.
        """
        ...


def ask_without_refusal(
    inferencer: 'UniQRNetInferencer',
    pictures: Sequence[np.ndarray],
    expressions: Sequence[Sequence[str]],
    batch_size: int,
) -> list[list[Prediction]]:
    """As :meth:`ServedModel.__call__`; what the network does not read of an expression raises no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)
        # No score is lower than 0.
        found = inferencer(list(pictures), list(map(list, expressions)), batch_size, refuse_below=0.0)['predictions']
    answers = iter(found)
    return [[next(answers) for _ in texts] for texts in expressions]


def warm_up(model: ServedModel) -> None:
    """Ask a first question, which takes longer than the others.

    Raises:
        UserError: The model can not answer it.
    """
    (found,) = model([np.full((64, 64, 3), 128, np.uint8)], [['something']], 1)
    if 'error' in found[0]:
        raise UserError(f'{model.name} gives no answers: {found[0]["error"]}')


class TorchModel:
    """A network that :class:`~mmuniqrnet.apis.UniQRNetInferencer` asks.

    Expressions about the same picture share what does not depend on the text; all pictures of a call go through the
    network together.

    Args:
        config: Config file; None = the one that the weights carry.
        weights: A ``.safetensors`` or ``.pth`` file, ``hf://ORG/NAME``, or one of the package's: ``'photos'`` (also if
            None) or ``'shapes'``.
        device: Such as ``'cuda:0'``; None = a GPU if there is one.

    Raises:
        UserError: Config or weights can't be read or don't fit each other, or there is no such device.
    """

    def __init__(self, config: str | None = None, weights: str | None = None, device: str | None = None) -> None:
        from mmuniqrnet.apis import UniQRNetInferencer

        self._inferencer = UniQRNetInferencer(config, weights, device, show_progress=False)
        self.name = self._inferencer.name
        self.made_for = self._inferencer.made_for
        self.refuse_below = self._inferencer.refuse_below

    def __call__(
        self, pictures: Sequence[np.ndarray], expressions: Sequence[Sequence[str]], batch_size: int
    ) -> list[list[Prediction]]:
        return ask_without_refusal(self._inferencer, pictures, expressions, batch_size)


class OnnxModel:
    """A network that ``tools/export.py`` exported, run by onnxruntime.

    The pictures of a call go through the network one after another, each with all its expressions at once; an exported
    network computes the picture again for each expression.

    Args:
        folder: The folder of the export.
        device: ``'cpu'``, ``'cuda'`` or ``'cuda:N'``; None = the CPU.

    Raises:
        UserError: The folder is not an export, onnxruntime is not installed, or it does not know the device.
    """

    def __init__(self, folder: str, device: str | None = None) -> None:
        for package in ('onnxruntime', 'tokenizers'):
            if find_spec(package) is None:
                raise UserError(f"--onnx needs {package}, which is not installed: `pip install 'mmuniqrnet[export]'`.")
        try:
            self._predictor = OnnxPredictor(folder, providers=_providers(device))
        except UserError:
            raise
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f'{folder} can not be used as an export: {error}') from None
        except Exception as error:  # onnxruntime has its own types, which derive from Exception
            raise UserError(f'{folder} can not be used as an export: {type(error).__name__}: {error}') from None
        self.name = str(Path(folder))
        self.made_for = self._predictor.settings.get('made_for')
        self.refuse_below = self._predictor.settings.get('refuse_below')

    def __call__(
        self, pictures: Sequence[np.ndarray], expressions: Sequence[Sequence[str]], batch_size: int
    ) -> list[list[Prediction]]:
        return [
            self._predictor(picture, texts, batch_size, refuse_below=0.0)
            for picture, texts in zip(pictures, expressions, strict=True)
        ]


def _providers(device: str | None) -> list[Any]:
    """onnxruntime's execution providers for a device.

    Raises:
        UserError: There is no such device, or onnxruntime was built without it.
    """
    import onnxruntime

    kind, _, index = (device or 'cpu').partition(':')
    if kind == 'cpu' and not index:
        return ['CPUExecutionProvider']
    if kind != 'cuda' or (index and not index.isdecimal()):
        raise UserError(f"there is no device {device!r} for an export; name one as 'cpu' or 'cuda:0'.")
    if 'CUDAExecutionProvider' not in onnxruntime.get_available_providers():
        raise UserError(f'the device {device} needs onnxruntime-gpu; the onnxruntime that is installed has only CPUs.')
    return [('CUDAExecutionProvider', {'device_id': int(index or 0)}), 'CPUExecutionProvider']
