"""Write the results of the ablations into docs/ablations.md, and draw docs/images/ablations-*.png.

    python benchmarks/ablations/report.py [--results benchmarks/ablations/results] [--docs docs]

The tables have the mean over all seeds with results, ± their standard deviation (n - 1).
"""

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from rows import GROUPS, ROWS

from mmuniqrnet.utils.errors import UserError, run_tool
from mmuniqrnet.utils.tables import markdown_table

matplotlib.use('Agg')
from matplotlib import pyplot as plt

METRICS = ('Acc@0.5', 'box_mIoU', 'mIoU', 'oIoU')
PLOTTED = ('Acc@0.5', 'mIoU')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--results', type=Path, default=Path(__file__).parent / 'results')
    parser.add_argument('--docs', type=Path, default=Path(__file__).parents[2] / 'docs')
    return parser.parse_args(argv)


def read_results(folder: Path) -> dict[str, list[dict]]:
    """From row to the results of its seeds, ordered by seed."""
    found = defaultdict(list)
    for path in sorted(folder.glob('*_seed*.json')):
        result = json.loads(path.read_text())
        found[result['row']].append(result)
    return found


def cell(results: list[dict], metric: str) -> str:
    """Mean and standard deviation of a metric after the last iteration; empty if no result has it."""
    values = [result['curve'][-1][metric] for result in results if metric in result['curve'][-1]]
    if not values:
        return ''
    return f'{np.mean(values):.1f}' + (f' ± {np.std(values, ddof=1):.1f}' if len(values) > 1 else '')


def table(names: list[str], found: dict[str, list[dict]]) -> str:
    rows = [
        dict(
            row=f'`{name}`',
            what=ROWS[name].title,
            iterations=' to '.join(str(n) for n in sorted({result['iterations'] for result in found[name]})),
            seeds=len(found[name]),
        )
        | {metric: cell(found[name], metric) for metric in METRICS}
        for name in names
    ]
    return markdown_table(rows, right=METRICS)


def section(group: str, names: list[str], found: dict[str, list[dict]], images: Path) -> str:
    """The table of a group and its plots, which are drawn and saved to ``images``."""
    pictures = {group: 'Learning curves: the mean of the seeds, and each of them thin'}
    plot_curves(names, found, images / f'ablations-{group}.png')
    if group == 'balance':
        if any(name.startswith('fixed-') for name in names):
            pictures['sweep'] = 'Fixed weights against the strategies'
            plot_sweep(found, images / 'ablations-sweep.png')
        pictures['weights'] = "The box's weight over the mask's"
        plot_weights(found, images / 'ablations-weights.png')
    return '\n\n'.join(
        [table(names, found), *(f'![{about}](images/ablations-{name}.png)' for name, about in pictures.items())]
    )


def consistency_table(folder: Path) -> str:
    """A row per map, with the means over the seeds for each row of the ablations that was measured."""
    found = defaultdict(list)
    for path in sorted(folder.glob('consistency_*.json')):
        content = json.loads(path.read_text())
        found[content['row']].append({one['map']: one for one in content['maps']})
    if not found:
        return ''
    rows = [row for row in ROWS if row in found]
    columns = {row: f'`{row}` ({len(found[row])})' for row in rows}
    lines = []
    for name in found[rows[0]][0]:
        line = dict(map=name)
        for row, column in columns.items():
            means = [np.mean([seed[name][key] for seed in found[row]]) for key in ('preferred', 'pointing', 'inside')]
            line[column] = ' / '.join(f'{mean:.1f}' for mean in means)
        lines.append(line)
    area = np.mean([seed[name]['area'] for seeds in found.values() for seed in seeds for name in seed])
    table = markdown_table(lines, right=list(columns.values()))
    return f'{table}\n\nThe masks cover {area:.1f} % of the image on average.'


def plot_curves(names: list[str], found: dict[str, list[dict]], path: Path) -> None:
    """Acc@0.5 and mIoU over the iterations: the mean over the seeds, and each seed as a thin line."""
    fig, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout='constrained')
    colors = matplotlib.colormaps['tab20'].colors
    for k, name in enumerate(names):
        for axis, metric in zip(axes, PLOTTED):
            curves = [
                [(point['iter'], point[metric]) for point in result['curve'] if metric in point]
                for result in found[name]
            ]
            curves = [np.array(curve) for curve in curves if curve]
            for curve in curves:
                axis.plot(*curve.T, color=colors[k % 20], linewidth=0.5, alpha=0.5)
            if curves:
                axis.plot(
                    curves[0][:, 0],
                    np.mean([curve[:, 1] for curve in curves], 0),
                    color=colors[k % 20],
                    marker='o',
                    markersize=3,
                    label=name,
                )
    for axis, metric in zip(axes, PLOTTED):
        axis.set(xlabel='iterations', ylabel=f'{metric}, %')
        axis.grid(alpha=0.3)
    # Rows of boxes only have no mIoU, rows of masks only no Acc@0.5.
    lines = {line.get_label(): line for axis in axes for line in axis.get_lines() if line.get_label() in names}
    axes[1].legend(
        [lines[name] for name in names if name in lines],
        [name for name in names if name in lines],
        fontsize=7,
        loc='center left',
        bbox_to_anchor=(1, 0.5),
    )
    fig.savefig(path, dpi=110)
    plt.close(fig)


def plot_sweep(found: dict[str, list[dict]], path: Path) -> None:
    """Acc@0.5 and mIoU over the fixed weight of the box; the adaptive strategies as horizontal lines."""
    fig, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout='constrained')
    fixed = {
        float(name.partition('-')[2]): found[name]
        for name in GROUPS['balance']
        if name.startswith('fixed-') and name in found
    }
    adaptive = [name for name in GROUPS['balance'] if not name.startswith('fixed-') and name in found]
    for axis, metric in zip(axes, PLOTTED):
        ends = {weight: [result['curve'][-1][metric] for result in results] for weight, results in fixed.items()}
        weights = sorted(ends)
        axis.plot(weights, [np.mean(ends[weight]) for weight in weights], 'ko-', label='fixed')
        for weight in weights:
            axis.plot([weight] * len(ends[weight]), ends[weight], 'k.', markersize=4, alpha=0.5)
        for k, name in enumerate(adaptive):
            mean = np.mean([result['curve'][-1][metric] for result in found[name]])
            axis.axhline(mean, color=f'C{k}', linestyle='--', label='magnitude' if name == 'joint' else name)
        axis.set(xscale='log', xlabel="the box's weight (the mask's is 1)", ylabel=f'{metric}, %')
        axis.grid(alpha=0.3)
    axes[1].legend(fontsize=8, loc='center left', bbox_to_anchor=(1, 0.5))
    fig.savefig(path, dpi=110)
    plt.close(fig)


def plot_weights(found: dict[str, list[dict]], path: Path) -> None:
    """The ratio of the weights of box and mask during training, for each adaptive strategy."""
    fig, axis = plt.subplots(figsize=(7, 3.6), layout='constrained')
    for k, name in enumerate(n for n in GROUPS['balance'] if not n.startswith('fixed-') and n in found):
        for result in found[name]:
            points = [
                (p['iter'], p['balance/weight_box'], p['balance/weight_mask'])
                for p in result['balance']
                if 'balance/weight_box' in p
            ]
            if not points:  # each loss has a weight of its own
                continue
            steps, box, mask = np.array(points).T
            axis.plot(
                steps,
                box / mask,
                color=f'C{k}',
                linewidth=1,
                label=('magnitude' if name == 'joint' else name) if result is found[name][0] else None,
            )
    axis.set(yscale='log', xlabel='iterations', ylabel="box's weight / mask's")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    fig.savefig(path, dpi=110)
    plt.close(fig)


def fill(text: str, name: str, content: str) -> str:
    """Replace the text between the marks ``<!-- NAME -->`` and ``<!-- end NAME -->``."""
    pattern = rf'(<!-- {name} -->\n).*?(<!-- end {name} -->)'
    if not re.search(pattern, text, re.DOTALL):
        raise UserError(f'the page has no marks <!-- {name} --> and <!-- end {name} -->')
    return re.sub(pattern, lambda found: f'{found[1]}\n{content}\n\n{found[2]}', text, flags=re.DOTALL)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    found = read_results(args.results)
    if not found:
        raise UserError(f'{args.results} has no results: run.py makes them.')
    page, images = args.docs / 'ablations.md', args.docs / 'images'
    text = page.read_text()
    for group, names in GROUPS.items():
        there = [name for name in names if name in found]
        if not there and f'<!-- {group} -->' not in text:
            continue  # a group that the page does not show yet
        text = fill(text, group, section(group, there, found, images) if there else 'No results yet.')
    text = fill(text, 'consistency', consistency_table(args.results) or 'No results yet.')
    page.write_text(text)
    runs = [result for results in found.values() for result in results]
    print(f'{len(runs)} runs, {sum(run["seconds"] for run in runs) / 3600:.1f} hours of training, into {page}')


if __name__ == '__main__':
    run_tool(main)
