"""Time of several expressions on one image, relative to the same without sharing.

In inference: one call of the inferencer for all expressions, relative to one call for each. With --training: forward
and backward pass of a batch of expressions about one image with share_images=True, relative to share_images=False. The
two take turns. FLOPs are those of matrix products and convolutions, in all and before the first gate, where no text
matters; all FLOPs without sharing over those with sharing is the ratio that arithmetic alone allows.

Without --config the shipped model is measured. A --config without --weights gets random weights of its size, also for
its text encoder, and nothing is downloaded.

    python benchmarks/shared_images.py [IMAGE] [--expressions 2 4 8 16] [--config C] [--weights W] [--training]
        [--pixels N] [--rounds N] [--threads N] [--cfg-options model.backbone.gated_stages=2,3]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch.utils.flop_counter import FlopCounterMode

from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.apis.shipped import config_and_checkpoint
from mmuniqrnet.checkpoints.file_io import write_checkpoint
from mmuniqrnet.config import add_cfg_options, load_config, positive_int
from mmuniqrnet.datasets.refshapes.writer import draw_scene
from mmuniqrnet.models import UniQRNet
from mmuniqrnet.registry import MODELS
from mmuniqrnet.utils.errors import UserError, run_tool
from mmuniqrnet.utils.tables import text_table

WORDS = ('red', 'blue', 'green', 'left', 'right', 'top', 'white', 'black')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('image', nargs='?', help='image file, for inference (default: a scene of RefShapes)')
    parser.add_argument('--expressions', nargs='+', type=positive_int, default=[2, 4, 8, 16], metavar='N')
    parser.add_argument('--config', help='config file (default: the one in the weights file)')
    parser.add_argument(
        '--weights', help='checkpoint (default: the shipped model for RefShapes, or random weights for --config)'
    )
    parser.add_argument('--training', action='store_true', help='measure a training step, with random weights')
    parser.add_argument(
        '--pixels', type=positive_int, help='side of the canvas, a multiple of 64 (default: the config)'
    )
    parser.add_argument('--rounds', type=positive_int, default=5)
    parser.add_argument('--threads', type=positive_int, default=1)
    add_cfg_options(parser)
    return parser.parse_args(argv)


def read_config(args: argparse.Namespace) -> Config:
    """The config to measure; without --weights its text encoder and backbone start from random weights."""
    if args.config is None and (args.training or args.pixels):
        raise UserError('--training and --pixels change the network, so they need a --config.')
    if args.config is None:
        return config_and_checkpoint(None, args.weights or 'shapes')[0]
    cfg = load_config(args.config, args.cfg_options)
    if args.weights is None:
        text = cfg.model.text_encoder
        if isinstance(text.get('model', ''), str):
            text.update(model=dict(model_type='bert'), tokenizer='mmuniqrnet:refshapes')
        cfg.model.backbone.pop('init_cfg', None)
    if args.pixels:
        cfg.model.data_preprocessor.canvas_size = args.pixels
        encoder = cfg.model.head.encoder
        encoder.level_sizes = [(args.pixels // 4 // 2**i,) * 2 for i in encoder.levels]
        for step in cfg.test_dataloader.dataset.pipeline:
            if step.type == 'ReferResize':
                step.scale = (args.pixels, args.pixels)
    return cfg


def expressions(count: int) -> list[str]:
    return [f'the {WORDS[i % len(WORDS)]} one, number {i}' for i in range(count)]


def gflop(call: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 1e9


def compare(shared: Callable[[], object], apart: Callable[[], object], rounds: int) -> dict[str, float]:
    """Processor time of the two, in turn; and their ratio, without sharing over with it."""
    times: dict[str, list[float]] = dict(shared=[], apart=[])
    for _ in range(rounds + 1):
        for name, call in (('shared', shared), ('apart', apart)):
            start = time.process_time()
            call()
            times[name].append(time.process_time() - start)
    first, second = (times[name][1:] for name in ('shared', 'apart'))  # the first round warms up
    ratios = [b / a for a, b in zip(first, second)]
    return {
        'shared, s': statistics.median(first),
        'apart, s': statistics.median(second),
        'times as fast': statistics.median(ratios),
        'least': min(ratios),
        'most': max(ratios),
    }


def of_arithmetic(model: UniQRNet, count: int) -> dict[str, float]:
    """GFLOP of one expression and before the first gate, and how many times as fast ``count`` of them may be."""
    model.requires_grad_(False)  # the counter fails if a parameter is passed to a module without gradients
    data = model.data_preprocessor(batch(1, model.data_preprocessor.canvas_size), False)
    with torch.no_grad():
        features = model.look(data['inputs'])
        before = gflop(lambda: model.look(data['inputs']))
        whole = before + gflop(lambda: model.answer(features, data['data_samples']))
    return {
        'GFLOP each': whole,
        'without text': before / whole,
        'by FLOPs': count * whole / (before + count * (whole - before)),
    }


def inference(cfg: Config, args: argparse.Namespace, folder: Path) -> list[dict]:
    image, weights = args.image, args.weights
    if image is None:
        image = str(folder / 'scene.png')
        cv2.imwrite(image, draw_scene(1, 'val', 0)[0])
    if weights is None and args.config is None:
        weights = 'shapes'
    elif weights is None:
        weights = folder / 'random.safetensors'
        write_checkpoint(dict(meta={}, state_dict=build(cfg).state_dict()), weights)
    ask = UniQRNetInferencer(None if args.config is None else cfg, weights, 'cpu', show_progress=False)
    rows = []
    for count in args.expressions:
        texts = expressions(count)
        ask(image, texts[0])

        def together(texts: list[str] = texts) -> None:
            ask(image, texts, batch_size=len(texts))

        def one_by_one(texts: list[str] = texts) -> None:
            for text in texts:
                ask(image, text)

        measured = compare(together, one_by_one, args.rounds)
        rows.append(dict(expressions=count) | measured | of_arithmetic(ask.model, count))
    return rows


def batch(count: int, size: Sequence[int]) -> dict:
    """A batch of expressions about one random image of the canvas' size [height, width], with a box and a mask."""
    height, width = size
    image = torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    samples = []
    for text in expressions(count):
        mask = np.zeros((1, height, width), np.uint8)
        mask[:, height // 4 : height // 2, width // 4 : width // 2] = 1
        box = torch.tensor([[width / 4, height / 4, width / 2, height / 2]])
        sample = DetDataSample(metainfo=dict(text=text, img_shape=(height, width), ori_shape=(height, width)))
        sample.gt_instances = InstanceData(bboxes=box, masks=BitmapMasks(mask, height, width))
        samples.append(sample)
    return dict(inputs=[image] * count, data_samples=samples)


def build(cfg: Config) -> UniQRNet:
    with DefaultScope.overwrite_default_scope('mmuniqrnet'):
        return MODELS.build(cfg.model)


def training(cfg: Config, args: argparse.Namespace) -> list[dict]:
    model, rows = build(cfg).train(), []
    canvas = model.data_preprocessor.canvas_size
    for count in args.expressions:

        def step(share_images: bool, count: int = count) -> None:
            model.data_preprocessor.share_images = share_images
            data = model.data_preprocessor(batch(count, canvas), training=True)
            sum(model(**data, mode='loss').values()).backward()
            model.zero_grad(set_to_none=True)

        measured = compare(lambda: step(True), lambda: step(False), args.rounds)
        flops = [gflop(lambda on=on: step(on)) for on in (True, False)]
        kept = [kept_gib(model, lambda on=on: step(on)) for on in (True, False)]
        rows.append(
            dict(expressions=count)
            | measured
            | {'GFLOP apart': flops[1], 'by FLOPs': flops[1] / flops[0]}
            | {'GiB kept, apart': kept[1], 'of that if shared': kept[0] / kept[1]}
        )
    return rows


def kept_gib(model: UniQRNet, call: Callable[[], object]) -> float:
    """GiB that are kept for the backward pass besides the parameters, each memory block once."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    sizes: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        call()
    return sum(sizes.values()) / 2**30


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    cfg = read_config(args)
    with tempfile.TemporaryDirectory() as folder:
        rows = training(cfg, args) if args.training else inference(cfg, args, Path(folder))
    what = 'training step' if args.training else 'inference'
    print(f'{what}, processor time of expressions on one image, {args.rounds} rounds, {args.threads} threads')
    print(text_table(rows))


if __name__ == '__main__':
    run_tool(main)
