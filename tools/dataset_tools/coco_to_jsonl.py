"""Make JSON Lines for ReferJsonlDataset from COCO's annotations and phrases for its categories.

    python tools/dataset_tools/coco_to_jsonl.py instances.json phrases.json train.jsonl [--split train] [--ambiguous]

``phrases.json`` is ``{"cup": ["the cup", "a mug"], ...}``. A phrase for a category does not tell apart two objects of
it, so only objects that are the only one of their category in their image are taken; ``--ambiguous`` takes all.
``mmuniqrnet describe --phrases`` does the same; this tool stays for one release.
The exit status is 1 if the written file has problems.
"""

import argparse
from collections.abc import Sequence

from mmuniqrnet.analysis.describe.given_phrases import coco_to_records, phrases_by_category
from mmuniqrnet.analysis.describe.records import write_jsonl
from mmuniqrnet.datasets import validate_jsonl
from mmuniqrnet.datasets.annotation_files import load_json, require_file
from mmuniqrnet.datasets.objects import Repairs
from mmuniqrnet.utils.errors import run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Make JSON Lines of referring expressions from COCO annotations.')
    parser.add_argument('annotations', help="COCO's instances*.json")
    parser.add_argument('phrases', help='JSON file: phrases by category name')
    parser.add_argument('out', help='the JSON Lines file to write')
    parser.add_argument('--split', help='write this split into every line')
    parser.add_argument(
        '--ambiguous', action='store_true', help='also take objects that share their image with one of their category'
    )
    parser.add_argument('--overwrite', action='store_true', help='replace an existing file')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    require_file(args.annotations, 'the annotations', "images, annotations and categories in COCO's format")
    coco = load_json(args.annotations)
    repairs = Repairs()
    records = coco_to_records(coco, phrases_by_category(args.phrases), not args.ambiguous, args.split, repairs)
    write_jsonl(args.out, records, args.overwrite)
    problems = validate_jsonl(args.out, open_images=False)
    print(f'{args.out}: {len(records)} objects, {sum(len(record["expressions"]) for record in records)} expressions')
    for sentence in repairs.sentences():
        print(f'{args.annotations}: {sentence}')
    for problem in problems:
        print(f'{args.out}: {problem}')
    if problems:
        raise SystemExit(1)


if __name__ == '__main__':
    run_tool(main)
