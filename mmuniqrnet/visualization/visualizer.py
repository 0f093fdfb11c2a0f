import re
from typing import Any

import mmcv
import numpy as np
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.dist import master_only
from mmengine.visualization import MLflowVisBackend
from mmengine.visualization.vis_backend import BaseVisBackend

from mmuniqrnet.registry import VISUALIZERS
from mmuniqrnet.structures.answers import Answer, without_low_score
from mmuniqrnet.utils.errors import UserError

from .answer_picture import MIN_SIDE, draw_answer


@VISUALIZERS.register_module()
class ReferringVisualizer(DetLocalVisualizer):
    """mmdet's visualizer for expressions: the text at the top, truth and prediction side by side (``draw_answer``).

    Args:
        name: Name of this instance in mmengine's ``ManagerMixin``.
        image: First image, RGB uint8 [H, W, 3].
        vis_backends: Where pictures and scalars are written, such as ``[dict(type='TensorboardVisBackend')]``.
        save_dir: Folder for backends that write files.
        min_side: Images are magnified so that their short side has at least so many pixels.
    """

    def __init__(
        self,
        name: str = 'visualizer',
        image: np.ndarray | None = None,
        vis_backends: list | dict | None = None,
        save_dir: str | None = None,
        min_side: int = MIN_SIDE,
    ) -> None:
        super().__init__(name=name, image=image, vis_backends=vis_backends, save_dir=save_dir)
        self.min_side = min_side

    @master_only
    def add_image(self, name: str, image: np.ndarray, step: int = 0) -> None:
        """Pass a picture to the backends. MLflow takes the name as a file's, so there it ends in ``_{step}.png``."""
        for backend in self._vis_backends.values():
            is_mlflow = isinstance(backend, MLflowVisBackend)
            backend.add_image(f'{mlflow_name(name)}_{step}.png' if is_mlflow else name, image, step=step)

    @master_only
    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Pass a number to the backends, under a name that each accepts; see :func:`mlflow_name`."""
        for backend in self._vis_backends.values():
            backend.add_scalar(_name_for(backend, name), value, step, **kwargs)

    @master_only
    def add_scalars(self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any) -> None:
        """Pass numbers by name to the backends, under names that each accepts; see :func:`mlflow_name`."""
        for backend in self._vis_backends.values():
            # A copy, because mmengine's backends change the dict.
            named = {_name_for(backend, name): value for name, value in scalar_dict.items()}
            backend.add_scalars(named, step, file_path, **kwargs)

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: DetDataSample | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        pred_score_thr: float = 0.0,
        step: int = 0,
    ) -> None:
        """Draw a data sample, and show it in a window, write it to a file, or, with neither, pass it to the backends.

        ``get_image`` then returns the picture.

        Args:
            name: Tag of the picture, and title of the window.
            image: RGB uint8 [H, W, 3], not rotated by its EXIF data: the truth refers to stored pixels.
            data_sample: Has ``text``, ``ori_shape`` and the truth as ``instances`` in its metainfo, and the answer as
                ``pred_instances`` in original pixels. What is absent is not drawn.
            draw_gt: Whether to draw the truth.
            draw_pred: Whether to draw the answer.
            show: Whether to show the picture in a window.
            wait_time: Seconds until the window closes; 0 = when a key is pressed.
            out_file: Path of a picture file, replaced if it exists.
            pred_score_thr: Answers with a lower score are not drawn, and the caption says so.
            step: Step for the backends.

        Raises:
            ValueError: The size of the image or of a mask differs from the data sample's.
        """
        picture = self._draw(image.clip(0, 255).astype(np.uint8), data_sample, draw_gt, draw_pred, pred_score_thr)
        self.set_image(picture)
        if show:
            self.show(picture, win_name=name, wait_time=wait_time)
        if out_file is not None:
            mmcv.imwrite(picture[..., ::-1], out_file)
        elif not show:
            self.add_image(name, picture, step)

    def _draw(
        self, image: np.ndarray, data_sample: DetDataSample | None, draw_gt: bool, draw_pred: bool, threshold: float
    ) -> np.ndarray:
        if data_sample is None:
            return draw_answer(image, '', min_side=self.min_side)
        meta = data_sample.metainfo
        size = tuple(meta.get('ori_shape', image.shape)[:2])
        if image.shape[:2] != size:
            raise UserError(
                f'image {meta.get("img_path")} is {list(image.shape[:2])}, but its data sample is for {list(size)} '
                "(height, width); read the image with 'color_ignore_orientation'"
            )
        truth, prediction, note = None, None, ''
        if draw_gt and meta.get('instances') is not None:
            truth = Answer.of_truth(meta['instances'], *size)
        if draw_pred and 'pred_instances' in data_sample:
            best = Answer.of_prediction(data_sample.pred_instances)
            prediction, note = (Answer(), 'nothing found') if best is None else without_low_score(best, threshold)
        return draw_answer(image, str(meta.get('text', '')), truth, prediction, note=note, min_side=self.min_side)


def mlflow_name(name: str) -> str:
    """The name of a metric in MLflow, which refuses a whole batch of metrics if one name has another character.

    MLflow takes letters, digits, ``_ - . /`` and space. ``@`` becomes ``_at_`` (``Acc_at_0.5``), ``+`` becomes
    ``_plus`` (``refcoco_plus/val/mIoU``), and any other character its code point (``%`` is ``_x25_``).
    """
    name = name.replace('@', '_at_').replace('+', '_plus')
    return re.sub(r'[^\w\-./ ]', lambda found: f'_x{ord(found[0]):x}_', name)


def _name_for(backend: BaseVisBackend, name: str) -> str:
    return mlflow_name(name) if isinstance(backend, MLflowVisBackend) else name
