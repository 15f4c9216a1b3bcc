"""Write what the teacher's stories begin with.

usage: openings.py DATA_DIR

The student shall go on from more than the data's beginnings. Reads DATA_DIR as prepare.py wrote
it; writes pieces.json (the text of each token) and prompts.npy (tokens, -1 after the last):
nothing; a genuine story's first words; a sentence from the midst of one; or a pattern filled in.
None begins like those openings of openings.txt, by which the student is judged, that are not
of the data.
"""

import json
import os
import random
import sys

import numpy as np
import sentencepiece as spm

WIDTH, COUNT = 16, 60_000
GIRLS = """
    Lily Mia Sara Anna Amy Lucy Sue Jane Ella Emma Daisy Molly Nina Zoe Lola Kate Eva Ruby
    Clara Maya Aisha Ines Yuki Leila
""".split()
BOYS = """
    Tom Tim Ben Max Sam Jack Bob Leo Joe Finn Oscar Noah Hugo Ali Omar Ravi Felix Otto Luis
    Kofi Henry Paul Emil Jamal
""".split()
HEROES = """
    cat dog bear fox rabbit mouse owl frog duck turtle squirrel lion monkey elephant pig horse
    cow goat bee ant snail crab penguin whale hedgehog crow dragon robot giant fairy wizard
    witch knight prince princess king queen pirate farmer baker teacher doctor fireman
    gardener clown tailor fisherman truck train boat kite balloon teapot lamp clock drum ball
    snowman doll teddy tree flower cloud star moon sun puddle stone
""".split()
TRAITS = """
    little big old young tiny brave shy lazy clever silly kind grumpy curious lonely happy sad
    hungry sleepy proud quiet friendly gentle busy funny careful red blue green yellow
""".split()
PLACES = """
    forest garden park village city farm castle kitchen school sea river lake mountain desert
    cave attic market barn island bakery library zoo harbor meadow cellar playground beach
    field shop
""".split()
THINGS = """
    key map box letter coin ball hat shoe book cake apple egg shell ring drum bell kite
    lantern mirror umbrella ladder blanket feather pumpkin telescope boat bicycle jar whistle
    seed
""".split()
FAMILY = "Mom Dad Grandma Grandpa".split()
PATTERNS = [
    "{G} found a {T} in the {P}.",
    "{B} had a {R} {H}.",
    "The {R} {H} lived in the {P}.",
    "A {R} {H} and a {R} {H} were friends.",
    "{G} and {B} went to the {P}.",
    "It was raining and {G} was",
    "Deep in the {P} there lived a {R} {H}.",
    "{B} was a {R} {H}.",
    "One night, a {H} came to the {P}.",
    "The {H} had lost a {T}.",
    "{F} gave {G} a {T}.",
    "My friend {B} has a {H}.",
    "There once was a {H} who wanted to",
    '"Where is my {T}?" asked {G}.',
    '"Look!" said {B}. "A {H}!"',
    "It was {G}'s birthday.",
    "On the first day of school, {B}",
    "{G} the {H} was very {R}.",
    "Every night, the {R} {H}",
    "In a {P} far away, a {H} named {B}",
    "{F} and {B} made a {T}.",
    "Long ago, a {R} {H}",
    "Nobody in the {P} liked the {H}.",
    "{G} could not sleep.",
    "{B} was afraid of the {H}.",
    "The {T} was gone!",
    "When {G} woke up, the {H}",
    "I am a {R} {H}.",
    "Last summer, {B} and {F}",
    "The {H} said to the {H},",
    "{G} wanted to be a {H}.",
    "Snow fell on the {P}.",
    "In the {P}, there was a {R} {T}.",
    "A {H} sat in the {P} and",
    "{B}'s {T} was broken.",
    "{G} looked out of the window and saw a {H}.",
    "The {R} {H} could not find",
    "Today {B} will visit the {P}.",
    "{F}'s {H} was missing.",
    "Once there lived a {R} {H} called {G}.",
    "Two {R} friends, {G} and {B},",
    "It was a cold morning in the {P}.",
    "The {H} and the {T}",
]


def fill(pattern, rng):
    for sign, words in (
        ("G", GIRLS),
        ("B", BOYS),
        ("H", HEROES),
        ("R", TRAITS),
        ("P", PLACES),
        ("T", THINGS),
        ("F", FAMILY),
    ):
        while "{" + sign + "}" in pattern:
            pattern = pattern.replace("{" + sign + "}", rng.choice(words), 1)
    return pattern


def main():
    folder, here = sys.argv[1], os.path.dirname(os.path.abspath(__file__))
    sp = spm.SentencePieceProcessor(model_file=os.path.join(folder, "tokenizer.model"))
    pieces = [
        ""
        if sp.is_control(i) or sp.is_unknown(i)
        else chr(int(sp.id_to_piece(i)[3:5], 16))
        if sp.is_byte(i)
        else sp.id_to_piece(i).replace("▁", " ")
        for i in range(sp.vocab_size())
    ]
    json.dump(pieces, open(os.path.join(folder, "pieces.json"), "w"))
    judges = [
        " ".join(line.split()[:4])
        for line in open(os.path.join(here, "openings.txt"), encoding="utf-8")
    ]
    own = judges[10:]
    ids = np.fromfile(os.path.join(folder, "train.u16"), dtype=np.uint16)
    stories = np.split(ids, np.flatnonzero(ids == 1))[1:]
    rng = random.Random(1)
    table = np.full((COUNT, WIDTH), -1, np.int16)
    table[:, 0] = 1
    i = 0
    while i < COUNT:
        kind, story = rng.random(), rng.choice(stories)[1:]
        if kind < 0.4:
            tokens = []
        elif kind < 0.65:
            tokens = story[: rng.randint(2, 8)].tolist()
        elif kind < 0.75:
            sentence = rng.choice(
                sp.decode(story.tolist()).replace("\n", " ").split(". ")[1:] or [""]
            )
            if not sentence[:1].isupper():
                continue
            tokens = sp.encode(sentence)[: rng.randint(4, 10)]
        else:
            tokens = sp.encode(fill(rng.choice(PATTERNS), rng))[: WIDTH - 1]
        text = sp.decode([int(t) for t in tokens])
        if any(text.startswith(o) for o in own):
            continue
        table[i, 1 : 1 + len(tokens)] = tokens
        i += 1
    np.save(os.path.join(folder, "prompts.npy"), table)
    print("\n".join(repr(sp.decode([int(t) for t in row if t > 1])) for row in table[:25]))


if __name__ == "__main__":
    main()
