"""How many refs, expressions and images the complete data sets have, by set and split.

Of val and test they were counted in public evaluation files; those of train and of ReferItGame are those of published
loaders. Where a number is not known for sure it is not here.
"""

OFFICIAL_COUNTS: dict[str, dict[str, dict[str, int]]] = {
    'refcoco(unc)': {
        'train': dict(refs=42_404, expressions=120_624),
        'val': dict(refs=3_811, expressions=10_834, images=1_500),
        'testA': dict(refs=1_975, expressions=5_657, images=750),
        'testB': dict(refs=1_810, expressions=5_095, images=750),
    },
    'refcoco+(unc)': {
        'train': dict(expressions=120_191),
        'val': dict(refs=3_805, expressions=10_758, images=1_500),
        'testA': dict(refs=1_975, expressions=5_726, images=750),
        'testB': dict(refs=1_798, expressions=4_889, images=750),
    },
    'refcocog(umd)': {
        'train': dict(expressions=80_512),
        'val': dict(refs=2_573, expressions=4_896, images=1_300),
        'test': dict(refs=5_023, expressions=9_602, images=2_600),
    },
    'refcocog(google)': {
        'train': dict(expressions=85_474),
        'val': dict(expressions=9_536),
    },
    'referit(berkeley)': {
        'train': dict(expressions=54_127),
        'val': dict(expressions=5_842),
        'test': dict(expressions=60_103),
    },
}
