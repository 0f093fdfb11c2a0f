"""Every expression that is made fits its object alone, as a reader who knows only the words finds."""

import pytest
from helpers.expression_judge import meant
from helpers.made_scenes import SIZE, coco_of, mirrored, random_things

from mmuniqrnet.analysis.describe.language import load_language
from mmuniqrnet.analysis.describe.meanings import Facts, Meaning, Noun
from mmuniqrnet.analysis.describe.phrases import all_texts
from mmuniqrnet.analysis.describe.scene import read_pictures
from mmuniqrnet.datasets.transforms.mirrored_text import mirror_text

SCENES = 90


@pytest.fixture(scope='module')
def english():
    return load_language('english')


def facts_of(things, language, **image):
    (picture,) = read_pictures(coco_of(things, **image), aliases=language.aliases)
    return Facts(picture, language, None)


def all_meanings(facts):
    return [(i, meaning) for i in range(len(facts.picture.things)) for meaning in facts.meanings(i)]


def texts(facts, meaning):
    return list(all_texts(facts.language, meaning))


def test_a_reader_finds_the_object(english):
    kinds = set()
    for seed in range(SCENES):
        things = random_things(seed)
        facts = facts_of(things, english)
        for target, meaning in all_meanings(facts):
            if meaning.noun.term.singular[0] not in ('person', 'dog', 'car', 'bear'):
                continue
            if meaning.anchor and meaning.anchor.term.singular[0] not in ('person', 'dog', 'car', 'bear'):
                continue
            kinds |= {meaning.kind, meaning.spot, meaning.noun.by}
            for text in texts(facts, meaning)[::11]:
                assert meant(text, things, SIZE) == target, (seed, text, things)
    assert kinds >= {'name', 'place', 'order', 'size', 'relation', 'combined', 'half', 'row'}
    assert kinds >= {'left', 'far right', 'leftmost', 'top', 'bottom left', 'top right corner', 'middle', 'front'}
    assert kinds >= {'biggest', 'smallest', 'left of', 'next to', 'closest to', 'above'}


def swapped(meaning):
    def swap(word):
        return word.replace('left', '#').replace('right', 'left').replace('#', 'right')

    noun = meaning.noun._replace(value=swap(meaning.noun.value))
    return meaning._replace(noun=noun, spot=swap(meaning.spot))


def test_the_mirrored_image_has_the_mirrored_words(english):
    said = 0
    for seed in range(0, SCENES, 3):
        things = random_things(seed)
        facts, other = facts_of(things, english), facts_of(mirrored(things), english)
        meanings = all_meanings(facts)
        assert {(i, swapped(meaning)) for i, meaning in meanings} == set(all_meanings(other))
        for _, meaning in meanings:
            if meaning.said == 'relation' or meaning.spot in ('front', 'back'):
                continue
            for text, there in zip(texts(facts, meaning), texts(facts, swapped(meaning))):
                assert mirror_text(text) == there
                said += 'left' in text
    assert said > 100


ROW = [('person', (20, 100, 60, 200)), ('person', (120, 100, 160, 200)), ('person', (230, 100, 270, 200))]
CROWD = dict(iscrowd=1, segmentation=dict(size=[300, 400], counts=[60000, 3000, 57000]))


def test_a_crowd_of_the_category_makes_all_doubtful(english):
    assert facts_of(ROW, english).meanings(0)
    crowded = facts_of([*ROW, ('person', (200, 0, 210, 300), CROWD), ('dog', (330, 200, 390, 240))], english)
    assert not any(crowded.meanings(i) for i in range(4))
    assert {meaning.said for meaning in crowded.meanings(4)} == {'', 'place'}


def test_a_word_counts_all_that_it_may_mean(english):
    """A teddy bear is a bear, too; "animal" needs categories that this file does not have."""
    facts = facts_of([('bear', (20, 100, 90, 200)), ('teddy bear', (120, 100, 160, 200))], english)
    words = [meaning.noun.term.singular[0] for i, meaning in all_meanings(facts) if meaning.kind == 'name']
    assert words == ['teddy bear']
    assert 'left' in {meaning.spot for meaning in facts.meanings(0)}
    assert all('animal' not in meaning.noun.term.singular for _, meaning in all_meanings(facts))


@pytest.mark.parametrize('key', [dict(persons_only=True), dict(annotated_categories=['Person'])])
def test_what_is_not_annotated_is_not_told(english, key):
    things = [('person', (20, 100, 60, 200)), ('dog', (80, 150, 120, 200)), ('person', (300, 100, 340, 200))]
    everything, people = facts_of(things, english), facts_of(things, english, **key)
    assert {'next to', 'closest to'} <= {meaning.spot for meaning in everything.meanings(0)}
    assert everything.meanings(1) and not people.meanings(1)
    assert people.meanings(0) and not any(meaning.anchor for meaning in people.meanings(0))


def test_two_boxes_at_one_place_have_no_expressions(english):
    twice = facts_of([('dog', (20, 100, 90, 200)), ('dog', (21, 101, 91, 199))], english)
    assert all_meanings(twice) == []
    assert Meaning(Noun(english.terms_of('dog')[0])).kind == 'name'
