from collections.abc import Sequence

import numpy as np
from mmdet.structures import DetDataSample
from mmengine.dataset import BaseDataset
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmuniqrnet.datasets.base import annotation_of
from mmuniqrnet.registry import HOOKS
from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.utils.io import safe_name
from mmuniqrnet.utils.picture_files import PictureFolder, read_image

INDEX, TITLE = 'pictures.md', '# Pictures of answers'
Key = tuple[str, str, str]


@HOOKS.register_module()
class ReferringVisualizationHook(Hook):
    """Draws answers: the same few examples in every validation, to follow the training, and on request in testing.

    The examples are spread evenly over the data set and are the same in every run. In distributed runs rank 0 draws,
    from the items that mmengine's ``DefaultSampler`` without shuffling assigns to it.

    Args:
        draw: Whether to draw in testing: to ``test_out_dir``, to a window (``show``), or else to the visualizer's
            backends. ``tools/test.py --show-dir`` and ``--show`` set it, by mmdet's ``trigger_visualization_hook``.
        val_examples: Number of expressions that each validation draws to the visualizer's backends; 0 = none, -1 =
            all. The tag is made of data set, split, sent_id and expression; the step is the iteration.
        test_examples: Number of expressions that testing draws; None or -1 = all.
        score_thr: Answers with a lower score are not drawn.
        show: Whether to show the pictures of testing in a window.
        wait_time: Seconds that a picture is shown.
        test_out_dir: Folder for the pictures of testing, ``{dataset}_{split}_{sent_id}.png``, and their index,
            ``pictures.md``; relative to the working directory. It must be new, empty, or filled by this hook before,
            in which case the earlier pictures are replaced.
        backend_args: Arguments of mmengine's file backend that reads the images.

    Raises:
        OverwriteError: When testing begins, if ``test_out_dir`` has other content.
        ValueError: If a number of examples is less than -1, or a data sample has no ``dataset``, ``split``,
            ``sent_id`` or ``img_path``.
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
                raise UserError(f'ReferringVisualizationHook: {name} must be at least 0, or -1 for all, not {value}')
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
        """Draw the examples of this batch."""
        for sample in self._take(outputs):
            words = safe_name(str(sample.metainfo.get('text', '')), 80)
            runner.visualizer.add_datasample(
                f'{_file_stem(sample)}_{words}',  # also a file name in mmengine's LocalVisBackend
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
        """Draw the examples of this batch."""
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
                step=0,  # runner.iter would build the loop of the training, and read its data
            )

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Log where the pictures are."""
        if self._folder is not None:
            print_log(f'{self._folder.count} pictures of answers written to {self._folder.folder}', logger='current')
            self._folder = None

    def _choose(self, dataset: BaseDataset, count: int | None) -> set[Key] | None:
        """Keys of the examples; None = all items."""
        if count is None or count == -1:
            return None
        mine = range(0, len(dataset), get_world_size())
        return {_key(annotation_of(dataset, mine[index])) for index in evenly_spread(len(mine), count)}

    def _take(self, outputs: Sequence[DetDataSample] | None) -> list[DetDataSample]:
        """The samples to draw, each once: distributed samplers repeat items to give all ranks the same number."""
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
            raise UserError(
                f'ReferringVisualizationHook: expression {sample.sent_id} has no img_path in its data '
                "sample's metainfo, so there is no image to draw on; pack samples with PackReferInputs"
            )
        return read_image(sample.img_path, self.backend_args)


def evenly_spread(total: int, count: int) -> list[int]:
    """The middles of ``count`` equal parts of ``range(total)``; all of its indices if there are fewer than that."""
    count = min(count, total)
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def _key(info: dict) -> Key:
    missing = [name for name in ('dataset', 'split', 'sent_id') if info.get(name) is None]
    if missing:
        raise UserError(
            f'ReferringVisualizationHook: an item ({info.get("img_path")}) has no {", ".join(missing)}, '
            'which identify it; use a data set of mmuniqrnet and PackReferInputs'
        )
    return str(info['dataset']), str(info['split']), str(info['sent_id'])


def _file_stem(sample: DetDataSample) -> str:
    return safe_name('_'.join(_key(sample.metainfo)), 120)
