"""Compact storage of annotated objects."""

import pickle
from collections.abc import Iterable

import numpy as np


class InstanceStore:
    """Immutable sequence of instance dicts, stored as one byte buffer.

    An object has three expressions on average, so polygons stored with each expression would need three times the
    memory. In addition, Python objects are copied in every forked worker as soon as their reference counts change; a
    byte buffer avoids this (as in ``BaseDataset.serialize_data``).
    """

    def __init__(self, instances: Iterable[dict]) -> None:
        records = [np.frombuffer(pickle.dumps(instance, protocol=4), dtype=np.uint8) for instance in instances]
        self._ends = np.cumsum([len(record) for record in records], dtype=np.int64)
        self._bytes = np.concatenate(records) if records else np.empty(0, dtype=np.uint8)

    @property
    def nbytes(self) -> int:
        """Size of the buffers in bytes."""
        return self._bytes.nbytes + self._ends.nbytes

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> dict:
        start = 0 if index == 0 else self._ends[index - 1]
        return pickle.loads(memoryview(self._bytes[start : self._ends[index]]))

    def __deepcopy__(self, memo: dict) -> 'InstanceStore':
        # Immutable: subsets of a data set share it.
        return self
