"""Random annotations in COCO's format, for tests of ``analysis/describe``."""

import numpy as np

SIZE = (400, 300)
NAMES = ('person', 'dog', 'car', 'bear', 'teddy bear')


def coco_of(things, size=SIZE, **image):
    """One image with objects ``(category, (x1, y1, x2, y2))``, or with a dict of more keys as a third entry."""
    annotations = []
    for number, (name, (x1, y1, x2, y2), *more) in enumerate(things):
        annotations.append(
            dict(
                id=number,
                image_id=1,
                category_id=NAMES.index(name),
                bbox=[x1, y1, x2 - x1, y2 - y1],
                iscrowd=0,
            )
        )
        annotations[-1].update(more[0] if more else {})
    images = [dict(id=1, file_name='a.jpg', width=size[0], height=size[1], **image)]
    categories = [dict(id=number, name=name) for number, name in enumerate(NAMES)]
    return dict(images=images, annotations=annotations, categories=categories)


def random_things(seed, most=6):
    """Objects of a few categories at random places: standing people, and rows of them in every second scene."""
    rng = np.random.default_rng(seed)
    things = []
    for _ in range(int(rng.integers(1, most + 1))):
        name = NAMES[int(rng.choice(4, p=(0.6, 0.15, 0.15, 0.1)))]
        height = float(rng.uniform(30, 200)) if seed % 2 else float(rng.uniform(90, 130))
        width = height * float(rng.uniform(0.35, 0.6) if name == 'person' else rng.uniform(0.8, 1.6))
        x1 = float(rng.uniform(0, SIZE[0] - width))
        y1 = float(rng.uniform(0, SIZE[1] - height)) if seed % 2 else 150.0 - height / 2
        things.append((name, (x1, y1, x1 + width, y1 + height)))
    return things


def mirrored(things, width=SIZE[0]):
    return [(name, (width - x2, y1, width - x1, y2), *more) for name, (x1, y1, x2, y2), *more in things]
