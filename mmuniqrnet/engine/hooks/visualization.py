import re
from collections.abc import Sequence

import cv2
import mmcv
import numpy as np
from mmdet.structures import DetDataSample
from mmengine.dist import get_world_size, is_main_process
from mmengine.fileio import get
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmuniqrnet.registry import HOOKS
from mmuniqrnet.utils.picture_folder import PictureFolder

INDEX, TITLE = 'pictures.md', '# Pictures of answers'
Key = tuple[str, str, str]


@HOOKS.register_module()
class ReferringVisualizationHook(Hook):
    """Draws answers: in every validation the same few, so that one sees the model learn, and in testing on demand.

    The examples are spread evenly over the data set, and are the same in every run. Only rank 0 draws; of several
    ranks the examples are among its share, as mmengine's ``DefaultSampler`` without shuffling deals it out.

    Args:
        draw: Whether to draw in testing: to ``test_out_dir``, a window (``show``), or else the visualizer's backends.
            ``tools/test.py --show-dir`` and ``--show`` set it, with mmdet's ``trigger_visualization_hook``.
        val_examples: How many expressions each validation draws to the visualizer's backends; 0 = none. The tag is the
            expression with its data set, split and sent_id, the step is the iteration.
        test_examples: How many testing draws; None or -1 = all.
        score_thr: Answers with a lower score are not drawn.
        show: Whether to show the pictures of testing in a window.
        wait_time: Seconds that a picture is shown.
        test_out_dir: Folder for the pictures of testing, ``{dataset}_{split}_{sent_id}.png``, and an index of them,
            ``pictures.md``; relative to the working directory. It must be new, empty, or filled by this hook before:
            then its pictures are replaced.
        backend_args: mmengine's file backend that reads the images.

    Raises:
        FileExistsError: When testing begins, if ``test_out_dir`` holds something else.
        ValueError: If a number of examples is none, or data samples lack ``dataset``, ``split``, ``sent_id`` or
            ``img_path``.
    """

    def __init__(
        self,
        *,
        draw: bool = False,
        val_examples: int = 8,
        test_examples: int | None = 50,
        score_thr: float = 0.0,
        show: bool = False,
        wait_time: float = 0.0,
        test_out_dir: str | None = None,
        backend_args: dict | None = None,
    ) -> None:
        for name, value in (('val_examples', val_examples), ('test_examples', test_examples)):
            if value is not None and value < -1:
                raise ValueError(f'ReferringVisualizationHook: {name} must be a number, or -1 for all, not {value}')
        self.draw = draw
        self.val_examples = val_examples
        self.test_examples = test_examples
        self.score_thr = score_thr
        self.show = show
        self.wait_time = wait_time
        self.test_out_dir = test_out_dir
        self.backend_args = backend_args
        self._wanted: set[Key] | None = set()
        self._drawn: set[Key] = set()
        self._folder: PictureFolder | None = None

    def before_val_epoch(self, runner: Runner) -> None:
        self._drawn = set()
        if is_main_process():
            self._wanted = self._choose(runner.val_loop.dataloader.dataset, self.val_examples)

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[DetDataSample] | None = None,
    ) -> None:
        """Draw those of the batch that are among the examples."""
        for sample in self._take(outputs):
            words = _safe(str(sample.metainfo.get('text', '')), 80)
            runner.visualizer.add_datasample(
                f'{_file_stem(sample)}_{words}',
                self._read(sample),
                sample,
                pred_score_thr=self.score_thr,
                step=runner.iter,
            )

    def before_test_epoch(self, runner: Runner) -> None:
        self._wanted, self._drawn = set(), set()
        if not is_main_process() or not (self.draw or self.show or self.test_out_dir is not None):
            return
        if self.test_out_dir is not None:
            self._folder = PictureFolder(self.test_out_dir, INDEX, TITLE)
        self._wanted = self._choose(runner.test_loop.dataloader.dataset, self.test_examples)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[DetDataSample] | None = None,
    ) -> None:
        """Draw those of the batch that are among the examples."""
        for sample in self._take(outputs):
            out_file, text = None, str(sample.metainfo.get('text', ''))
            image = self._read(sample)
            if self._folder is not None:
                about = f'"{text}" (sent_id {sample.sent_id}, {sample.img_path})'
                out_file = str(self._folder.add(f'{_file_stem(sample)}.png', about))
            runner.visualizer.add_datasample(
                text if self.show else _file_stem(sample),
                image,
                sample,
                show=self.show,
                wait_time=self.wait_time,
                out_file=out_file,
                pred_score_thr=self.score_thr,
                step=runner.iter,
            )

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Say where the pictures are."""
        if self._folder is not None:
            print_log(f'{self._folder.count} pictures of answers written to {self._folder.folder}', logger='current')
            self._folder = None

    def _choose(self, dataset, count: int | None) -> set[Key] | None:
        """The keys of the examples; None = all."""
        if count is None or count == -1:
            return None
        mine = range(0, len(dataset), get_world_size())
        return {_key(dataset.get_data_info(mine[place])) for place in evenly_spread(len(mine), count)}

    def _take(self, outputs: Sequence[DetDataSample] | None) -> list[DetDataSample]:
        """Those to draw, each once: samplers repeat items to fill the last round."""
        if not is_main_process() or self._wanted == set():
            return []
        taken = []
        for sample in outputs or ():
            key = _key(sample.metainfo)
            if key not in self._drawn and (self._wanted is None or key in self._wanted):
                self._drawn.add(key)
                taken.append(sample)
        return taken

    def _read(self, sample: DetDataSample) -> np.ndarray:
        if sample.metainfo.get('img_path') is None:
            raise ValueError(
                f'ReferringVisualizationHook: expression {sample.sent_id} has no img_path in its data '
                "sample's metainfo, so there is no image to draw on; pack samples with PackReferInputs"
            )
        content = get(sample.img_path, backend_args=self.backend_args)
        # the truth refers to stored pixels; and mmcv knows channel_order='rgb' for no flag but 'color'
        image = mmcv.imfrombytes(content, flag='color_ignore_orientation', channel_order='bgr')
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def evenly_spread(total: int, count: int) -> list[int]:
    """``count`` places among ``total``, in the middles of as many equal parts; all of them where there are fewer."""
    count = min(count, total)
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def _key(info: dict) -> Key:
    missing = [name for name in ('dataset', 'split', 'sent_id') if info.get(name) is None]
    if missing:
        raise ValueError(
            f'ReferringVisualizationHook: an item ({info.get("img_path")}) has no {", ".join(missing)}, '
            'by which it is told from others; use a data set of mmuniqrnet and PackReferInputs'
        )
    return str(info['dataset']), str(info['split']), str(info['sent_id'])


def _file_stem(sample: DetDataSample) -> str:
    return _safe('_'.join(_key(sample.metainfo)), 120)


def _safe(text: str, max_bytes: int) -> str:
    """For file names and TensorBoard's tags: letters and digits of any script, + - . and _."""
    return re.sub(r'[^\w+.-]+', '_', text).encode()[:max_bytes].decode(errors='ignore')
