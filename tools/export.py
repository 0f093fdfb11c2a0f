"""Export a network to ONNX, with all that is needed to run it:

    python tools/export.py CONFIG CHECKPOINT OUT_DIR [--torch-export] [--cfg-options KEY=VALUE ...]
    python tools/export.py --weights WEIGHTS.safetensors OUT_DIR

The export is compared with PyTorch on images of RefShapes, or on --check IMAGE EXPRESSION; nothing is written unless
they agree.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmuniqrnet.apis.inferencer import UniQRNetInferencer
from mmuniqrnet.config import add_cfg_options, load_config
from mmuniqrnet.export.exporting import export
from mmuniqrnet.export.folder import check_export_folder
from mmuniqrnet.export.writing import DEFAULT_OPSET, require_exporter
from mmuniqrnet.utils.errors import UserError, run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Export a network to ONNX.',
        usage='%(prog)s [options] (CONFIG CHECKPOINT | --weights WEIGHTS) OUT_DIR',
    )
    parser.add_argument('paths', nargs='+', metavar='CONFIG CHECKPOINT OUT_DIR', help='with --weights only OUT_DIR')
    parser.add_argument(
        '--weights', metavar='WEIGHTS', help='a file that carries its config, instead of CONFIG CHECKPOINT'
    )
    parser.add_argument('--opset', type=int, default=DEFAULT_OPSET, help=f'ONNX opset (default: {DEFAULT_OPSET})')
    parser.add_argument('--torch-export', action='store_true', help='also write model.pt2, for torch.export.load')
    parser.add_argument(
        '--check',
        nargs=2,
        action='append',
        metavar=('IMAGE', 'EXPRESSION'),
        help='compare on this instead of images of RefShapes; can be given several times',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace the export that is in OUT_DIR')
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    *source, folder = args.paths
    if len(source) != (2 if args.weights is None else 0):
        raise UserError('give CONFIG CHECKPOINT OUT_DIR, or --weights WEIGHTS OUT_DIR.')
    if args.cfg_options and args.weights is not None:
        raise UserError(
            '--cfg-options changes entries of CONFIG; with --weights the config is the one in the weights file.'
        )
    require_exporter()
    check_export_folder(folder, args.overwrite)
    for image, _ in args.check or []:
        if not Path(image).is_file():
            raise UserError(f'--check: there is no image {image}.')
    if args.weights is None:
        config, weights = load_config(source[0], args.cfg_options), source[1]
    else:
        config, weights = None, args.weights
    inferencer = UniQRNetInferencer(config, weights, device='cpu', show_progress=False)
    export(
        inferencer,
        folder,
        opset=args.opset,
        torch_export=args.torch_export,
        questions=[tuple(question) for question in args.check or []],
        overwrite=args.overwrite,
    )


if __name__ == '__main__':
    run_tool(main)
