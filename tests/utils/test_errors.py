"""Which errors the tools print as one sentence, and which keep their trace."""

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from mmuniqrnet.structures.overlap import mask_overlap
from mmuniqrnet.utils.errors import MissingFileError, OverwriteError, UserError, run_tool, sentence_of


@pytest.mark.parametrize(
    'kind, base', [(UserError, ValueError), (MissingFileError, FileNotFoundError), (OverwriteError, FileExistsError)]
)
def test_a_user_error_is_a_sentence_and_of_the_documented_type(kind, base):
    with pytest.raises(base) as caught:
        raise kind('give another file')
    assert sentence_of(caught.value) == 'give another file'


def test_a_value_error_of_our_own_code_keeps_its_trace():
    """The package's own arithmetic, given what its callers must never give it."""

    def main():
        mask_overlap(np.ones((2, 3), bool), np.ones((3, 2), bool))

    with pytest.raises(ValueError, match='must have the same size') as caught:
        run_tool(main)
    assert sentence_of(caught.value) is None


def test_a_bug_while_a_user_error_is_handled_is_not_hidden_by_it():
    def main():
        try:
            raise UserError('give another file')
        except UserError:
            len(None)

    with pytest.raises(TypeError):
        run_tool(main)


def test_what_mmengine_puts_in_front_of_an_error_is_left_out():
    """As mmengine's registry does: the same type again, with a prefix."""

    def main():
        try:
            raise MissingFileError('there is no a.json')
        except Exception as error:
            raise type(error)(f'class `ReferDataset` in refer.py: {error}')  # noqa: B904

    with pytest.raises(SystemExit, match='^error: there is no a.json$'):
        run_tool(main)


def test_what_we_put_in_front_of_an_error_is_kept():
    def main():
        try:
            raise UserError('has no boxes')
        except UserError as error:
            raise UserError(f'a.json: {error}') from None

    with pytest.raises(SystemExit, match='^error: a.json: has no boxes$'):
        run_tool(main)


class Pictures(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        if index:
            raise UserError('b.jpg is cut off: copy it again')
        return index


def test_an_error_in_a_worker_of_a_data_loader_is_the_same_sentence():
    with pytest.raises(UserError, match='Traceback') as caught:
        list(DataLoader(Pictures(), num_workers=1))
    assert sentence_of(caught.value) == 'b.jpg is cut off: copy it again'
