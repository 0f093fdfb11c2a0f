"""Time and memory of reading a synthetic data set of the size of RefCOCO, also in forked data loader workers.

Linux only, because memory is read from /proc. Each way of reading runs in its own process: "bare" parses the two files
without making a data set, "default" stores the polygons with every expression, as ``BaseDataset.serialize_data`` would.

    python benchmarks/dataset_loading.py [--expressions 142210] [--workers 4]
"""

import argparse
import json
import multiprocessing
import pickle
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset

from mmuniqrnet.config import positive_int
from mmuniqrnet.datasets.instance_store import InstanceStore
from mmuniqrnet.datasets.refer import ReferDataset
from mmuniqrnet.utils.errors import run_tool
from mmuniqrnet.utils.tables import text_table

# RefCOCO has 142,210 expressions, 50,000 refs, 19,994 images and 196,771 annotations.
REFS, IMAGES, ANNOTATIONS = 50_000 / 142_210, 19_994 / 142_210, 196_771 / 142_210
WORDS = [
    'left',
    'right',
    'man',
    'woman',
    'in',
    'the',
    'red',
    'shirt',
    'white',
    'bowl',
    'behind',
    'standing',
    'zebra',
    'person',
]
FORK = multiprocessing.get_context('fork')


class DefaultDataset(ReferDataset):
    """The same items stored by mmengine's default, with the instances in the record of each item."""

    def load_expressions(self):
        expressions, store = super().load_expressions()
        for item in expressions:
            item['instances'] = [store[index] for index in item['instance_index']]
        return expressions, InstanceStore([])

    def get_data_info(self, idx: int) -> dict:
        return BaseDataset.get_data_info(self, idx)


def write_dataset(folder: Path, expressions: int) -> None:
    random = np.random.default_rng(0)
    refs, images, annotations = (int(expressions * share) for share in (REFS, IMAGES, ANNOTATIONS))
    # About log-normal, as in COCO. The median of 48 coordinates is above the 35 of a sample of RefCOCO.
    lengths = 2 * np.clip(random.lognormal(3.2, 0.85, annotations), 3, 500).astype(int)
    records = []
    for index, length in enumerate(lengths):
        polygon = (random.integers(0, 48_000, length) / 100).tolist()
        records.append(
            dict(
                id=index,
                image_id=index % images,
                bbox=polygon[:4],
                area=100.0,
                iscrowd=0,
                category_id=1,
                segmentation=[polygon],
            )
        )
    names = [f'COCO_train2014_{image:012}.jpg' for image in range(images)]
    files = [dict(id=image, file_name=names[image], height=480, width=640) for image in range(images)]
    (folder / 'instances.json').write_text(json.dumps(dict(images=files, annotations=records, categories=[])))
    sentences: list[list[dict]] = [[] for _ in range(refs)]
    for sent_id in range(expressions):
        text = ' '.join(random.choice(WORDS, random.integers(1, 8)))
        sentences[sent_id % refs].append(dict(sent_id=sent_id, raw=text, sent=text, tokens=text.split()))
    content = [
        dict(
            ref_id=ref,
            ann_id=ref,
            image_id=ref % images,
            split='train',
            file_name=names[ref % images],
            category_id=1,
            sent_ids=[sentence['sent_id'] for sentence in sentences[ref]],
            sentences=sentences[ref],
        )
        for ref in range(refs)
    ]
    (folder / 'refs(unc).p').write_bytes(pickle.dumps(content, protocol=2))


def memory(field: str) -> float:
    """Memory of this process in MiB, from a field of /proc/self/smaps_rollup."""
    lines = Path('/proc/self/smaps_rollup').read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(f'{field}:')) / 1024


def own_memory() -> float:
    """Memory in MiB that this process shares with no other."""
    return memory('Private_Dirty') + memory('Private_Clean')


def read_all(dataset: ReferDataset, barrier, results) -> None:
    rss, pss, own = memory('Rss'), memory('Pss'), own_memory()
    start = time.perf_counter()
    for index in range(len(dataset)):
        dataset[index]
    seconds = time.perf_counter() - start
    barrier.wait()  # PSS is only comparable while all workers are alive
    results.put((seconds, memory('Rss') - rss, memory('Pss') - pss, own_memory() - own))
    barrier.wait()


def measure(load: Callable, workers: int, results) -> None:
    before = memory('Rss')
    start = time.perf_counter()
    dataset = load()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = dict(seconds=seconds, rss=memory('Rss') - before, peak=peak - before)
    if isinstance(dataset, BaseDataset):
        buffers = (dataset.data_bytes, dataset.data_address, dataset.instance_store)
        found['held'] = sum(buffer.nbytes for buffer in buffers) / 2**20
        barrier, queue = FORK.Barrier(workers), FORK.Queue()
        children = [FORK.Process(target=read_all, args=(dataset, barrier, queue)) for _ in range(workers)]
        for child in children:
            child.start()
        found['workers'] = np.mean([queue.get() for _ in children], axis=0).tolist()
        for child in children:
            child.join()
    results.put(found)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--expressions', type=positive_int, default=142_210, help='default: as many as RefCOCO')
    parser.add_argument('--workers', type=positive_int, default=4, help='default: 4')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_dataset(folder, args.expressions)
        paths = [folder / 'instances.json', folder / 'refs(unc).p']
        sizes = [path.stat().st_size / 2**20 for path in paths]
        print(f'{args.expressions} expressions; instances.json {sizes[0]:.0f} MiB, refs(unc).p {sizes[1]:.0f} MiB')
        files = dict(ann_file=str(paths[0]), split_file=str(paths[1]))
        loads = dict(
            bare=lambda: (json.loads(paths[0].read_text()), pickle.loads(paths[1].read_bytes())),
            ReferDataset=lambda: ReferDataset(**files),
            default=lambda: DefaultDataset(**files),
        )
        measured = {}
        for title, load in loads.items():
            results = FORK.Queue()
            process = FORK.Process(target=measure, args=(load, args.workers, results))
            process.start()
            measured[title] = results.get()
            process.join()
    bare, default = measured['bare'], measured['default']
    print('\nReading the files; increase of memory in MiB:')
    rows = [
        {
            '': title,
            'seconds': found['seconds'],
            'of bare': found['seconds'] / bare['seconds'],
            'peak RSS': found['peak'],
            'peak of bare': found['peak'] / bare['peak'],
            'RSS after': found['rss'],
            'buffers': found.get('held'),
            'of default': found['held'] / default['held'] if 'held' in found else None,
        }
        for title, found in measured.items()
    ]
    print(text_table(rows, decimals={'seconds': 1, 'peak RSS': 0, 'RSS after': 0, 'buffers': 0}))
    print(f'\nEach of {args.workers} forked workers reading all items; increase of memory in MiB:')
    rows = []
    for title, found in measured.items():
        if 'workers' in found:
            row = dict(zip(('seconds', 'RSS', 'PSS', 'private'), found['workers']))
            rows.append({'': title, **row, 'private of buffers': row['private'] / found['held']})
    print(text_table(rows, decimals=dict(seconds=1, RSS=0, PSS=0, private=1)))


if __name__ == '__main__':
    run_tool(main)
