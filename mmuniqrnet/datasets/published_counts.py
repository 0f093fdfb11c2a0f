"""What is published about the sizes of evaluation sets with corrected labels, and the comparison with it."""

from collections.abc import Mapping

REFCOCO_M = dict(images=1_190, objects=2_080, expressions=5_598)
# Of val and test together; the authors do not give the numbers of the splits.
REF_L4 = dict(expressions=45_341)
# Of all splits for evaluation (for RefCOCOg, of umd) together: the reviewed expressions, and those marked wrong.
REVIEWED = {
    'refcoco': dict(expressions=21_586, wrong=3_054),
    'refcoco+': dict(expressions=21_373, wrong=5_201),
    'refcocog': dict(expressions=14_498, wrong=675),
}


def differences(found: Mapping[str, int], published: Mapping[str, int]) -> list[str]:
    """A clause such as ``1,189 images (published: 1,190)`` for each count that is not the published one."""
    return [
        f'{found[what]:,} {what} (published: {count:,})' for what, count in published.items() if found[what] != count
    ]
