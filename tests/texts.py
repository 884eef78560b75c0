"""Texts that tokenizers and offsets stumble over."""

from hypothesis import strategies as st

from transforms import Document

ODD_TEXTS = [
    "",
    " ",
    "\n\t ",
    "x",
    "My name is Ann Smith and I live at 12 Baker Street, London NW1 6XE.",
    "  leading and trailing spaces, with   runs   of  them  ",
    "Microsoft's e-mail: ann.smith@example.org; phone +1 (212) 555-0199!",
    "José Ñandú wohnt in der Münchner Straße 5, 80331 München – „groß“.",
    "Jose\u0301 N\u0303andu\u0301 (decomposed) and Ａｎｎ (fullwidth) in ﬁne ligatures",
    "李小龙住在香港九龙塘金巴伦道41号。田中さんは東京に住んでいます。",
    "안녕하세요 서울입니다 مرحبا بكم في القاهرة שלום ירושלים",
    "👩‍👩‍👧‍👦 family 👍🏽 and 🇩🇪 flag, then Ann",
    "zero\u200bwidth\u200djoiner\ufeffbom\u00adsoft hyphen\u2060word joiner",
    "non\u00a0breaking\u2003em space\u3000ideographic",
    "line one\nline two\r\nline three\rline four\u2028line five\x85line six",
    "nul\x00and\x07controls\x1b[31m",
    "[CLS] typed [SEP] special [MASK] tokens <s> </s> <unk> [UNK] [PAD]",
    "a" * 300,
    "supercalifragilisticexpialidocious" * 4,
    "!!!???...,,,;;;---___***",
    "e" + "\u0301" * 40 + " zalgo",
    "\u202eright to left override\u202c mixed עברית and English",
    "𝕬𝖓𝖓 𝒮𝓂𝒾𝓉𝒽 in mathematical letters, and 𐍈 gothic",
    "O'Neil d'Artagnan l'Hôpital rock'n'roll it’s",
    "http://example.com/?q=a&b=c#d and C:\\Users\\ann\\file.txt",
    "1,234.56 €1.234,56 £12 ¥500 50% 3/4 ½ ² ³",
    "ẞ ß ŉ ǰ İ ı ſ K Å",
    " ".join(f"Person{number} lives in City{number}." for number in range(40)),
    "The company is based in New York City and hires people in Saint-Denis, " * 12,
    "東京都港区に住んでいます。" * 30,
]

TYPED = ["[CLS]", "[SEP]", "[UNK]", "</s>", "<s>", "<mask>", "<pad>", "##", "▁", "Ġ", "\ue001", "\x00", "\ufffe"]

PIECES = st.one_of(
    st.text(max_size=8),
    st.sampled_from([*TYPED, *" \n\t\u200d\u0301\u202e", "Ann", "Paris", "123", "🙂👍🏽", "東京", "Straße"]),
    st.sampled_from(ODD_TEXTS).map(lambda text: text[:40]),
)
TEXTS = st.lists(PIECES, max_size=20).map("".join)
"""Of any characters, what tokenizers stumble over among them."""

WRONG_FIELDS = [
    (Document("1", None), "the field text is of type NoneType; expected str", b""),  # type: ignore[arg-type]
    (Document("1", b"Ann"), "the field text is of type bytes; expected str", b"Ann"),  # type: ignore[arg-type]
    (Document("1", 7.5), "the field text is of type float; expected str", b"7.5"),  # type: ignore[arg-type]
    (Document(None, "Ann"), "the field id is of type NoneType; expected str", b"Ann"),  # type: ignore[arg-type]
    (Document("1", "Ann", None), "the field attributes is of type NoneType; expected Mapping", b"Ann"),  # type: ignore[arg-type]
    (Document("1", "Ann", {"a": 1}), "an attribute is of type int; expected str", b"Ann"),  # type: ignore[dict-item]
    (Document("1", "Ann", timestamp="now"), "the field timestamp is of type str; expected float | int | None", b"Ann"),  # type: ignore[arg-type]
    (Document("1", "Ann", payload="x"), "the field payload is of type str; expected bytes | None", b"Ann"),  # type: ignore[arg-type]
]
