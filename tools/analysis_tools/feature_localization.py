"""Measure, stage by stage, how much of the gates and features lies on the object meant, and draw the gates.

    python tools/analysis_tools/feature_localization.py CONFIG CHECKPOINT [--limit 500] [--out localization.json]
        [--pictures FOLDER --images 3]

For every spatial gate, the gated tokens (squared norm) and the neck's levels (squared norm), in per cent: the share of
the energy inside the true mask, how often the maximum lies in the mask (pointing game), and how often the object that
the expression names has a higher mean than all other objects of the image.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope

from mmuniqrnet.analysis.feature_localization import Maps, measure_model, summarise
from mmuniqrnet.checkpoints.file_io import read_checkpoint, state_dict_of
from mmuniqrnet.checkpoints.loading import check_fit
from mmuniqrnet.config import add_cfg_options, load_config, positive_int
from mmuniqrnet.registry import DATASETS, MODELS
from mmuniqrnet.utils.errors import UserError, run_tool
from mmuniqrnet.utils.io import refuse_overwriting
from mmuniqrnet.utils.picture_files import PictureFolder, read_image
from mmuniqrnet.utils.tables import text_table
from mmuniqrnet.visualization import draw_gates


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Measure how much of the gates and features lies on the object meant.')
    parser.add_argument('config', help='config file; its test data set is used')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--limit', type=positive_int, metavar='N', help='only the first N expressions')
    parser.add_argument('--batch-size', type=positive_int, default=32, metavar='N', help='default: 32')
    parser.add_argument('--out', metavar='FILE.json', help='write the table to this file')
    parser.add_argument('--pictures', metavar='FOLDER', help='draw the gates into this new or empty folder')
    parser.add_argument(
        '--images', type=positive_int, metavar='N', help='number of images that --pictures draws (default: 3)'
    )
    add_cfg_options(parser)
    return parser.parse_args(argv)


def load_model(cfg: Config, checkpoint: str) -> torch.nn.Module:
    """The model of a config with a checkpoint's weights, for evaluation."""
    cfg.model.get('backbone', {}).pop('init_cfg', None)
    model = MODELS.build(cfg.model)
    state = state_dict_of(read_checkpoint(checkpoint), checkpoint)
    # Pixel guidance is used in training only, so a checkpoint may lack it.
    fit = check_fit(state, model.state_dict(), required=None, allow=('head.pixel_guidance.',))
    model.load_state_dict({name: state[name] for name in fit.matched}, strict=False)
    return model.to(get_device()).eval()


def main(argv: Sequence[str] | None = None) -> list[dict]:
    args = parse_args(argv)
    if args.images is not None and args.pictures is None:
        raise UserError('--images is the number of images that --pictures FOLDER draws: give the folder.')
    cfg = load_config(args.config, args.cfg_options)
    out = refuse_overwriting(args.out, option=None) if args.out else None
    folder = PictureFolder(args.pictures, 'gates.md', '# Gates by stage') if args.pictures else None
    init_default_scope(cfg.get('default_scope', 'mmuniqrnet'))
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    to_draw: dict[str, list[tuple[DetDataSample, Maps]]] = defaultdict(list)

    def collect(sample: DetDataSample, gates: Maps) -> None:
        if folder is not None and (sample.img_id in to_draw or len(to_draw) < (args.images or 3)):
            to_draw[sample.img_id].append((sample, gates))

    measured = measure_model(
        load_model(cfg, args.checkpoint), dataset, limit=args.limit, batch_size=args.batch_size, look=collect
    )
    for answers in to_draw.values():
        draw(folder, answers)
    rows = summarise(measured)
    print(text_table(rows, ['map', 'N', 'inside', 'area', 'pointing', 'preferred']))
    if out is not None:
        out.write_text(json.dumps(rows, indent=1) + '\n')
    return rows


def draw(folder: PictureFolder, answers: list[tuple[DetDataSample, Maps]]) -> None:
    """Draw one picture of an image: its expressions one below the other, each with the gates of all stages."""
    path = answers[0][0].img_path
    image = read_image(path)
    sheets = [draw_gates(image, sample.text, gates, min_side=160, columns=1 + len(gates)) for sample, gates in answers]
    width = max(sheet.shape[1] for sheet in sheets)
    sheets = [np.pad(s, ((0, 12), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in sheets]
    about = '; '.join(f'"{sample.text}"' for sample, _ in answers)
    folder.write(f'{Path(path).stem}.png', about, np.concatenate(sheets))


if __name__ == '__main__':
    run_tool(main)
