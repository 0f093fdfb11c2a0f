"""Measure, stage by stage, how a model's gates and features agree with the text, and draw the gates.

    python tools/analysis_tools/text_consistency.py CONFIG CHECKPOINT [--limit 500] [--out consistency.json]
        [--pictures FOLDER --images 3]

For every spatial gate, the gated tokens (squared norm) and the neck's levels (squared norm): the share of the energy
within the true mask, the pointing game, and how often the object that is meant has more of it than the image's others.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import cv2
import mmcv
import numpy as np
import torch
from mmengine.config import DictAction
from mmengine.device import get_device
from mmengine.registry import init_default_scope

from mmuniqrnet.analysis.feature_localization import Maps, measure_model, summarise
from mmuniqrnet.checkpoints.file_io import read_checkpoint, state_dict_of
from mmuniqrnet.checkpoints.loading import check_fit
from mmuniqrnet.config import load_config
from mmuniqrnet.registry import DATASETS, MODELS
from mmuniqrnet.utils.errors import UserError, run_tool
from mmuniqrnet.utils.io import refuse_overwriting
from mmuniqrnet.utils.picture_folder import PictureFolder
from mmuniqrnet.visualization import draw_gates


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Measure how gates and features agree with the text.')
    parser.add_argument('config', help='config file; its test data set is looked at')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--limit', type=int, metavar='N', help='only the first N expressions')
    parser.add_argument('--batch-size', type=int, default=32, metavar='N')
    parser.add_argument('--out', metavar='FILE.json', help='write the table there')
    parser.add_argument('--pictures', metavar='FOLDER', help='draw the gates: a new or empty folder')
    parser.add_argument('--images', type=int, default=3, metavar='N', help='of how many images (default: 3)')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override entries of the config'
    )
    return parser.parse_args(argv)


def load_model(cfg, checkpoint: str) -> torch.nn.Module:
    """The model of a config with a checkpoint's weights, for evaluation."""
    cfg.model.get('backbone', {}).pop('init_cfg', None)
    model = MODELS.build(cfg.model)
    state = state_dict_of(read_checkpoint(checkpoint), checkpoint)
    # What serves the training alone (pixel guidance) has no say here.
    fit = check_fit(state, model.state_dict(), required=None, allow=('head.pixel_guidance.',))
    model.load_state_dict({name: state[name] for name in fit.matched}, strict=False)
    return model.to(get_device()).eval()


def main(argv: list[str] | None = None) -> list[dict]:
    args = parse_args(argv)
    for name in ('limit', 'batch_size', 'images'):
        if (value := getattr(args, name)) is not None and value < 1:
            raise UserError(f'--{name.replace("_", "-")} is a positive number, not {value}.')
    cfg = load_config(args.config, args.cfg_options)
    out = refuse_overwriting(args.out, option=None) if args.out else None
    folder = PictureFolder(args.pictures, 'gates.md', '# Gates by stage') if args.pictures else None
    init_default_scope(cfg.get('default_scope', 'mmuniqrnet'))
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    drawn = defaultdict(list)

    def look(sample, gates: Maps) -> None:
        if folder is not None and (sample.img_id in drawn or len(drawn) < args.images):
            drawn[sample.img_id].append((sample, gates))

    measured = measure_model(
        load_model(cfg, args.checkpoint), dataset, limit=args.limit, batch_size=args.batch_size, look=look
    )
    for answers in drawn.values():
        draw(folder, answers)
    rows = summarise(measured)
    print(f'{"map":22} {"N":>6} {"inside":>7} {"area":>7} {"pointing":>9} {"preferred":>10}')
    for row in rows:
        print(
            f'{row["map"]:22} {row["N"]:6} {row["inside"]:7.2f} {row["area"]:7.2f} {row["pointing"]:9.2f} '
            f'{row["preferred"]:10.2f}'
        )
    if out is not None:
        out.write_text(json.dumps(rows, indent=1) + '\n')
    return rows


def draw(folder: PictureFolder, answers: list) -> None:
    """One picture: an image's expressions one under the other, the gates by stage beside each."""
    sheets = []
    for sample, on_image in answers:
        image = mmcv.imread(sample.img_path, flag='color_ignore_orientation', channel_order='bgr')[..., ::-1]
        sheets.append(
            draw_gates(np.ascontiguousarray(image), sample.text, on_image, min_side=160, columns=1 + len(on_image))
        )
    width = max(sheet.shape[1] for sheet in sheets)
    sheets = [np.pad(s, ((0, 12), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in sheets]
    name = f'{Path(answers[0][0].img_path).stem}.png'
    about = '; '.join(f'"{sample.text}"' for sample, _ in answers)
    cv2.imwrite(str(folder.add(name, about)), np.concatenate(sheets)[..., ::-1])


if __name__ == '__main__':
    run_tool(main)
