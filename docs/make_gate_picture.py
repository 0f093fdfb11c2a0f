"""Make docs/images/gates-photos.png: gates and features of the shipped model for photographs, by stage and expression.

    python docs/make_gate_picture.py [--out docs/images/gates-photos.png]

For each expression, on two photographs side by side: every spatial gate, and below it the energy (squared norm) of the
tokens that leave it. Blue to yellow is the least to the greatest value of each panel.
"""

import argparse
from pathlib import Path

import numpy as np
from make_photo_picture import picture_of, scaled
from PIL import Image

from mmuniqrnet.analysis.feature_localization import gates_and_tokens
from mmuniqrnet.apis import UniQRNetInferencer
from mmuniqrnet.models.gate_recording import maps_on_image, record_outputs
from mmuniqrnet.models.layers import QueryDynamicAttention, SpatialGate
from mmuniqrnet.structures import Placement
from mmuniqrnet.visualization.gate_picture import heat_on_image
from mmuniqrnet.visualization.sheet import lay_out

SIDE = 280  # pixels, the longer side of a panel
ASKED = [
    (['astronaut', '-astronaut'], 'person on the left'),
    (['astronaut', '-astronaut'], 'person on the right'),
    (['coffee', 'cat'], 'the cup'),
    (['coffee', 'cat'], 'the cat'),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--out', default='docs/images/gates-photos.png', help='file to write or replace (default: %(default)s)'
    )
    args = parser.parse_args()
    ask = UniQRNetInferencer(weights='photos', device='cpu', show_progress=False)
    rows = [row_of(picture_of(names), text, ask) for names, text in ASKED]
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, 10), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    Image.fromarray(np.concatenate(rows)).quantize(256).save(args.out, optimize=True)
    print(f'{args.out}: {width} x {sum(len(row) for row in rows)} pixels, {Path(args.out).stat().st_size // 1000} KB')


def row_of(picture: np.ndarray, text: str, ask: UniQRNetInferencer) -> np.ndarray:
    picture = scaled(picture, SIDE / max(picture.shape[:2]))
    with record_outputs(ask.model, SpatialGate, QueryDynamicAttention) as recorded:
        sample = ask(picture, text, return_datasamples=True)['predictions'][0]
    placement = Placement.of(sample)
    gates, tokens = gates_and_tokens(recorded, ask.model.data_preprocessor.canvas_size)
    names = {
        gate: f'{gate.removesuffix(" gate")}'.replace('backbone', 'stage').replace('neck', 'neck level')
        for gate in gates
    }
    energies = {gate: tokens[gate.replace(' gate', ' tokens')] for gate in gates}
    rows = [
        [(f'{names[gate]}, {kind}', values) for gate, values in maps_on_image(maps, placement, 0).items()]
        for kind, maps in (('gate', gates), ('energy', energies))
    ]
    heats = [[(name, heat_on_image(picture, values)) for name, values in row] for row in rows]
    first = [('', picture), ('', np.full_like(picture, 255))]
    panels = [panel for begin, row in zip(first, heats) for panel in (begin, *row)]
    return lay_out(text, panels, columns=1 + len(gates))


if __name__ == '__main__':
    main()
