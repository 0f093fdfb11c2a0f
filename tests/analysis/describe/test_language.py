import json

import pytest
from helpers.made_scenes import coco_of

from mmuniqrnet.analysis.describe.language import LANGUAGES, load_language
from mmuniqrnet.analysis.describe.records import describe
from mmuniqrnet.utils.errors import UserError

TINY = dict(
    article='',
    colors=dict(red=['rosso']),
    ordinals=[['prima'], ['seconda'], ['terza']],
    plural_forms=['tutte le {np}'],
    forms=dict(
        place=dict(left=['{np} a sinistra'], right=['{np} a destra']),
        order=dict(left=['{n} {np} da sinistra']),
        relation={'next to': ['{np} accanto a {anchor}']},
    ),
    terms=[
        dict(singular=['persona'], plural=['persone'], covers=['person']),
        dict(singular=['cane'], covers=['dog']),
    ],
)
PEOPLE = [('person', (x, 100, x + 40, 200)) for x in (20, 170, 330)]


def made(tmp_path, content, things, **options):
    path = tmp_path / 'tiny.json'
    path.write_text(json.dumps(content))
    records, _ = describe(coco_of(things), load_language(str(path)), per_object=9, **options)
    return [sorted(record['expressions']) for record in records]


def test_another_language_is_a_file(tmp_path):
    assert made(tmp_path, TINY, PEOPLE) == [
        ['persona a sinistra', 'prima persona da sinistra'],
        ['seconda persona da sinistra'],
        ['persona a destra', 'terza persona da sinistra'],
    ]
    assert made(tmp_path, TINY, PEOPLE, kinds=['plural']) == [['persona', 'tutte le persone']]


def test_a_category_that_is_not_listed_has_its_own_name(tmp_path):
    assert made(tmp_path, TINY, [('dog', (20, 150, 80, 200)), ('car', (150, 120, 380, 240))], kinds=['name']) == [
        ['cane'],
        ['car'],
    ]


@pytest.mark.parametrize(
    'change, reason',
    [
        (lambda c: c.pop('forms'), 'should be a JSON object with'),
        (lambda c: c['forms'].update(shape={}), '"forms" should be an object with some of color, half'),
        (lambda c: c['forms']['place'].update(nowhere=['{np}']), '"forms.place" should be an object with some of left'),
        (lambda c: c['forms']['place'].update(left=['sinistra']), r'"sinistra" should have \{np\}, and no other'),
        (lambda c: c['forms']['order'].update(left=['{n} {np} {who}']), r'should have \{n\} and \{np\}'),
        (lambda c: c['colors'].update(red='rosso'), '"colors.red" should be a list of strings'),
        (lambda c: c['terms'].append(dict(singular=['x'])), 'a term should have "singular" and "covers"'),
    ],
)
def test_what_is_wrong_in_a_file_is_said(tmp_path, change, reason):
    content = json.loads(json.dumps(TINY))
    change(content)
    with pytest.raises(UserError, match=reason):
        made(tmp_path, content, PEOPLE)


def test_a_name_that_is_no_language_is_said():
    with pytest.raises(UserError, match='there is no language "klingon": there is english'):
        load_language('klingon')


def test_english_never_guesses_a_sex_and_knows_all_of_coco():
    text = (LANGUAGES / 'english.json').read_text()
    words = set(text.lower().replace('"', ' ').replace(',', ' ').split())
    assert not words & {'man', 'woman', 'boy', 'girl', 'guy', 'lady', 'he', 'she', 'his', 'her', 'male', 'female'}
    english = load_language()
    assert len({category for term in english.terms for category in term.covers}) >= 80
    assert english.aliases['aeroplane'] == 'airplane'
    assert all(name in english.listed for name in english.aliases.values())
