"""Write what the ablations gave into docs/ablations.md, between its marks, and draw docs/images/ablations-*.png.

    python benchmarks/ablations/report.py [--results benchmarks/ablations/results] [--docs docs]

A table's figure is the mean over the seeds that are there, its spread their standard deviation (n - 1).
"""

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path

import matplotlib
import numpy as np
from rows import GROUPS, ROWS

matplotlib.use('Agg')
from matplotlib import pyplot as plt  # noqa: E402

FIGURES = ('Acc@0.5', 'box_mIoU', 'mIoU', 'oIoU')
PLOTTED = ('Acc@0.5', 'mIoU')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--results', type=Path, default=Path(__file__).parent / 'results')
    parser.add_argument('--docs', type=Path, default=Path(__file__).parents[2] / 'docs')
    return parser.parse_args()


def read_results(folder: Path) -> dict[str, list[dict]]:
    """Row -> the results of its seeds, in their order."""
    found = defaultdict(list)
    for path in sorted(folder.glob('*_seed*.json')):
        result = json.loads(path.read_text())
        found[result['row']].append(result)
    return found


def cell(results: list[dict], figure: str) -> str:
    values = [result['curve'][-1][figure] for result in results if figure in result['curve'][-1]]
    if not values:
        return ''
    return f'{np.mean(values):.1f}' + (f' ± {np.std(values, ddof=1):.1f}' if len(values) > 1 else '')


def table(names: list[str], found: dict[str, list[dict]]) -> str:
    lines = [
        f'| row | what | iterations | seeds | {" | ".join(FIGURES)} |',
        '|---|---|--:|--:|' + '--:|' * len(FIGURES),
    ]
    for name in names:
        cells = ' | '.join(cell(found[name], figure) for figure in FIGURES)
        lines.append(f'| `{name}` | {ROWS[name].title} | {ROWS[name].iterations} | {len(found[name])} | {cells} |')
    return '\n'.join(lines)


def section(group: str, names: list[str], found: dict[str, list[dict]], images: Path) -> str:
    """A group's table, and its pictures, which are drawn here."""
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
    """Of each map the figures of every row that was measured, means over its seeds."""
    found = defaultdict(list)
    for path in sorted(folder.glob('consistency_*.json')):
        content = json.loads(path.read_text())
        found[content['row']].append({one['map']: one for one in content['maps']})
    if not found:
        return ''
    rows = [row for row in ROWS if row in found]
    lines = [
        '| map | ' + ' | '.join(f'`{row}` ({len(found[row])})' for row in rows) + ' |',
        '|---|' + '--:|' * len(rows),
    ]
    for name in found[rows[0]][0]:
        cells = []
        for row in rows:
            means = [np.mean([seed[name][key] for seed in found[row]]) for key in ('preferred', 'pointing', 'inside')]
            cells.append(' / '.join(f'{mean:.1f}' for mean in means))
        lines.append(f'| {name} | {" | ".join(cells)} |')
    area = np.mean([seed[name]['area'] for seeds in found.values() for seed in seeds for name in seed])
    return '\n'.join([*lines, '', f'The masks cover {area:.1f} % of the image on the average.'])


def plot_curves(names: list[str], found: dict[str, list[dict]], path: Path) -> None:
    """Acc@0.5 and mIoU against iterations: the mean of the seeds, and each of them thin."""
    fig, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout='constrained')
    colors = matplotlib.colormaps['tab20'].colors
    for k, name in enumerate(names):
        for axis, figure in zip(axes, PLOTTED):
            curves = [
                [(point['iter'], point[figure]) for point in result['curve'] if figure in point]
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
    for axis, figure in zip(axes, PLOTTED):
        axis.set(xlabel='iterations', ylabel=f'{figure}, %')
        axis.grid(alpha=0.3)
    # Boxes only have no mIoU, masks only no Acc@0.5.
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
    """Acc@0.5 and mIoU against the box's fixed weight; the adaptive strategies as level lines."""
    fig, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout='constrained')
    fixed = {
        float(name.partition('-')[2]): found[name]
        for name in GROUPS['balance']
        if name.startswith('fixed-') and name in found
    }
    adaptive = [name for name in GROUPS['balance'] if not name.startswith('fixed-') and name in found]
    for axis, figure in zip(axes, PLOTTED):
        ends = {weight: [result['curve'][-1][figure] for result in results] for weight, results in fixed.items()}
        weights = sorted(ends)
        axis.plot(weights, [np.mean(ends[weight]) for weight in weights], 'ko-', label='fixed')
        for weight in weights:
            axis.plot([weight] * len(ends[weight]), ends[weight], 'k.', markersize=4, alpha=0.5)
        for k, name in enumerate(adaptive):
            mean = np.mean([result['curve'][-1][figure] for result in found[name]])
            axis.axhline(mean, color=f'C{k}', linestyle='--', label='magnitude' if name == 'joint' else name)
        axis.set(xscale='log', xlabel="the box's weight (the mask's is 1)", ylabel=f'{figure}, %')
        axis.grid(alpha=0.3)
    axes[1].legend(fontsize=8, loc='center left', bbox_to_anchor=(1, 0.5))
    fig.savefig(path, dpi=110)
    plt.close(fig)


def plot_weights(found: dict[str, list[dict]], path: Path) -> None:
    """What share of the weight each adaptive strategy gave to the box, over the training."""
    fig, axis = plt.subplots(figsize=(7, 3.6), layout='constrained')
    for k, name in enumerate(n for n in GROUPS['balance'] if not n.startswith('fixed-') and n in found):
        for result in found[name]:
            points = [
                (p['iter'], p['balance/weight_box'], p['balance/weight_mask'])
                for p in result['balance']
                if 'balance/weight_box' in p
            ]
            if not points:  # the losses were weighted one by one
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
    """Put a table between its marks ``<!-- NAME -->`` and ``<!-- end NAME -->``."""
    pattern = rf'(<!-- {name} -->\n).*?(<!-- end {name} -->)'
    if not re.search(pattern, text, re.DOTALL):
        raise SystemExit(f'the page has no marks <!-- {name} --> and <!-- end {name} -->')
    return re.sub(pattern, lambda found: f'{found[1]}\n{content}\n\n{found[2]}', text, flags=re.DOTALL)


def main() -> None:
    args = parse_args()
    found = read_results(args.results)
    if not found:
        raise SystemExit(f'{args.results} has no results; run.py makes them.')
    page, images = args.docs / 'ablations.md', args.docs / 'images'
    text = page.read_text()
    for group, names in GROUPS.items():
        there = [name for name in names if name in found]
        text = fill(text, group, section(group, there, found, images) if there else 'No results yet.')
    text = fill(text, 'consistency', consistency_table(args.results) or 'No results yet.')
    page.write_text(text)
    runs = [result for results in found.values() for result in results]
    print(f'{len(runs)} runs, {sum(run["seconds"] for run in runs) / 3600:.1f} hours of training, into {page}')


if __name__ == '__main__':
    main()
