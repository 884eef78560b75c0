"""Documents to measure with, generated from a seed, with a realistic distribution of lengths."""

from __future__ import annotations

import gzip
import random
import re
from pathlib import Path

_NAMES = "Ann Bob Carla Dmitri Esra Fatima Georg Hana Ivo Jules Kofi Lena Mateo Nia Olga Pedro Quinn Rosa Sven".split()
_SURNAMES = "Abara Brandt Castillo Dubois Eriksen Fontaine Garcia Haddad Ivanova Jansen Kowalski Moreau".split()
_STREETS = "Baker Street|Mill Lane|Rue des Lilas|Hafenstraße|Via Roma|Calle Mayor|Station Road|Elm Avenue".split("|")
_CITIES = "London Leeds Lyon Hamburg Torino Sevilla Boston Denver Utrecht Gdańsk".split()
_SENTENCES = [
    "My name is {name} {surname} and I live at {number} {street}, {city}.",
    "Please call me back on {phone} before {hour} o'clock.",
    "The parcel that I ordered on the {day}th has still not arrived at {number} {street}.",
    "{name} from the {city} office said that the refund would take {number} days, which was a fortnight ago.",
    "You can reach {name} at {mail}.",
    "Everything worked, thank you.",
    "I have attached the invoice no. {number}{day} once more, although it was in my last letter too.",
    "The export button stays grey until the second window is opened, in both browsers and on every machine here.",
    "Our account ends in {number}, and the transfer went to {surname} & Co. by mistake.",
    "Could you confirm that {name} {surname} is still the person to write to in {city}?",
    "It rained all week in {city}, so the roof could not be finished.",
    "As I said to {name}: no delivery on Mondays, please, since nobody is at home then.",
]
_MEAN_LOG, _DEVIATION_LOG = 0.75, 0.95  # of the number of sentences: most texts are short, a few are very long
_MOST_SENTENCES = 24
_WHOLE = 1000  # characters that no tokenizer makes more than a window of


def documents(count: int, seed: int = 0) -> list[str]:
    """So many texts, all different, of one to some hundred words each.

    >>> documents(2) == documents(2), documents(2) != documents(2, seed=1)
    (True, True)
    """
    generator = random.Random(seed)
    return [
        text(generator, min(_MOST_SENTENCES, max(1, round(generator.lognormvariate(_MEAN_LOG, _DEVIATION_LOG)))))
        + f" ({number})"
        for number in range(count)
    ]


def text(generator: random.Random, sentences: int) -> str:
    """One text of so many sentences."""
    return " ".join(_sentence(generator) for _ in range(sentences))


def _sentence(generator: random.Random) -> str:
    name, surname = generator.choice(_NAMES), generator.choice(_SURNAMES)
    return generator.choice(_SENTENCES).format(
        name=name,
        surname=surname,
        number=generator.randrange(1, 999),
        street=generator.choice(_STREETS),
        city=generator.choice(_CITIES),
        phone=f"555-01{generator.randrange(100):02}",
        hour=generator.randrange(1, 13),
        day=generator.randrange(1, 29),
        mail=f"{name}.{surname}@example.org".lower(),
    )


def debian_documents(count: int, seed: int = 0, folder: Path = Path("/usr/share/doc")) -> list[str]:
    """Return different paragraphs from the documentation of Debian's packages, or fewer if there are not enough.

    The paragraphs are short enough that transformers' pipeline does not truncate them.
    """
    paragraphs: set[str] = set()
    for path in sorted(folder.glob("*/*")):
        if path.name.lower().startswith(("copyright", "changelog", "readme", "news", "authors", "todo")):
            paragraphs.update(_paragraphs(path))
    return random.Random(seed).sample(sorted(paragraphs), min(count, len(paragraphs)))


def _paragraphs(path: Path) -> list[str]:
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except OSError:
        return []
    blocks = re.split(r"\n\s*\n", data.decode("utf-8", "replace"))
    return [block.strip() for block in blocks if len(block.split()) >= 4 and len(block) <= _WHOLE]
