"""Old place of names that have moved; to be removed in the next release."""

from mmuniqrnet.utils.deprecation import moved_names

__getattr__ = moved_names(
    __name__,
    {
        'coco_to_records': 'mmuniqrnet.analysis.describe.given_phrases:coco_to_records',
        'phrases_by_category': 'mmuniqrnet.analysis.describe.given_phrases:phrases_by_category',
        'write_jsonl': 'mmuniqrnet.analysis.describe.records:write_jsonl',
    },
)
