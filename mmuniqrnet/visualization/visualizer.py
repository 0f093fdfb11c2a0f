import mmcv
import numpy as np
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.dist import master_only

from mmuniqrnet.registry import VISUALIZERS
from mmuniqrnet.structures.answers import Answer, without_low_score

from .drawing import draw_answer


@VISUALIZERS.register_module()
class ReferringVisualizer(DetLocalVisualizer):
    """mmdet's visualizer, with pictures of expressions: the text on top, truth and prediction side by side.

    Args:
        name: Of this instance, as mmengine's ``ManagerMixin`` keeps it.
        image: RGB uint8 [H, W, 3] to begin with.
        vis_backends: Where pictures and scalars go, such as ``[dict(type='TensorboardVisBackend')]``.
        save_dir: Folder of those backends that write files.
        min_side: Images are magnified so that their short side has at least so many pixels.
    """

    def __init__(
        self,
        name: str = 'visualizer',
        image: np.ndarray | None = None,
        vis_backends: list | dict | None = None,
        save_dir: str | None = None,
        min_side: int = 320,
    ) -> None:
        super().__init__(name=name, image=image, vis_backends=vis_backends, save_dir=save_dir)
        self.min_side = min_side

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
        """Draw a data sample; to a window (``show``), to ``out_file``, and, with neither of them, to the backends.

        The picture is then also what ``get_image`` returns.

        Args:
            name: Tag of the picture, and title of the window.
            image: RGB uint8 [H, W, 3], as stored: the truth refers to pixels before any EXIF rotation.
            data_sample: Its metainfo has ``text``, ``ori_shape``, and the truth as ``instances``; its
                ``pred_instances`` the answer in original pixels. What is not there is not drawn.
            draw_gt: Whether to draw the truth.
            draw_pred: Whether to draw the answer.
            show: Whether to open a window.
            wait_time: Seconds that the window stays; 0 = until a key is pressed.
            out_file: Path of a picture file; one that is there is replaced.
            pred_score_thr: Answers with a lower score are not drawn; the caption says so.
            step: Step of the backends.

        Raises:
            ValueError: The image or a mask has another size than the data sample says.
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
            raise ValueError(
                f'image {meta.get("img_path")} is {list(image.shape[:2])}, but its data sample was made '
                f"from one of {list(size)} (height, width); read it with 'color_ignore_orientation'"
            )
        truth, prediction, note = None, None, ''
        if draw_gt and meta.get('instances') is not None:
            truth = Answer.of_truth(meta['instances'], *size)
        if draw_pred and 'pred_instances' in data_sample:
            best = Answer.of_prediction(data_sample.pred_instances)
            prediction, note = (Answer(), 'nothing found') if best is None else without_low_score(best, threshold)
        return draw_answer(image, str(meta.get('text', '')), truth, prediction, note=note, min_side=self.min_side)
