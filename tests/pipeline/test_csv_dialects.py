"""CSV as people have it: other delimiters, no header, backslashes, and quotes that are not closed."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from runs import rows

from pipeline.io.fields import DocumentFields
from pipeline.io.files.formats.csv_rows import read_rows
from pipeline.io.files.lines import split_lines
from pipeline.io.files.matching import Shard
from pipeline.io.files.read import read_shard
from pipeline.io.files.settings import ReadSettings
from pipeline.run import main
from pipeline.schemas import KeptField
from transforms.documents import Document, Failure


def read(path: Path, content: bytes, fields: DocumentFields | None = None, **settings: object) -> list[object]:
    """The id and text of each document, and the bytes of each failure."""
    path.write_bytes(content)
    outcomes = read_shard(Shard(str(path)), "csv", fields or DocumentFields(), ReadSettings(**settings))  # type: ignore[arg-type]
    return [(each.id, each.text) if isinstance(each, Document) else each.payload for each in outcomes]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "id;text\n1;Ann, Ben\n"),
        ("a.csv", "id\ttext\n1\tAnn, Ben\n"),
        ("a.tsv", "id\ttext\n1\tAnn, Ben\n"),
        ("a.csv", "id|text\n1|Ann, Ben\n"),
        ("a.csv", '"id";"text"\r\n"1";"Ann, Ben"\r\n'),
        ("a.csv", "sep=;\r\nid;text\r\n1;Ann, Ben\r\n"),
        ("a.csv", "\ufeffsep=\t\nid\ttext\n1\tAnn, Ben\n"),
    ],
)
def test_the_first_line_shows_the_delimiter(name: str, content: str, tmp_path: Path) -> None:
    assert read(tmp_path / name, content.encode()) == [("1", "Ann, Ben")]


def test_a_delimiter_that_is_given(tmp_path: Path) -> None:
    content = b"id:text\n1:Ann,Ben\n"
    assert read(tmp_path / "a.csv", content, csv_delimiter=":") == [("1", "Ann,Ben")]
    assert read(tmp_path / "a.csv", content.replace(b":", "§".encode()), csv_delimiter="§") == [("1", "Ann,Ben")]


def test_a_comma_comes_first_if_several_fit(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", b"text,a;b\nAnn,x\n") == [(f"{tmp_path}/a.csv:9", "Ann")]


@pytest.mark.parametrize("content", [b"1,Ann\n2,Ben\n", b"1;Ann\n2;Ben\n"])
def test_names_for_a_file_without_a_header(content: bytes, tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", content, csv_header=("id", "text")) == [("1", "Ann"), ("2", "Ben")]


def test_a_backslash_as_escape(tmp_path: Path) -> None:
    content = b'id,text\n1,"Ann \\"Lee\\" Smith, and ""Ben"""\n2,"C:\\\\x"\n'
    expected = [("1", 'Ann "Lee" Smith, and "Ben"'), ("2", "C:\\x")]
    assert read(tmp_path / "a.csv", content, csv_escape="backslash") == expected
    assert read(tmp_path / "a.csv", b'id,text\n1,"C:\\"\n') == [("1", "C:\\")]  # as RFC 4180 has it


def test_a_failure_hints_at_the_backslash(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'id,text\n1,"Ann \\"Lee\\" Smith"\n2,Ben\n')
    failure, document = read_shard(Shard(str(tmp_path / "a.csv")), "csv", DocumentFields())
    assert isinstance(failure, Failure)
    assert failure.error.endswith("; expected --csv_escape=backslash if quotes are escaped in this way")
    assert isinstance(document, Document)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        # To the end of the file, no quote follows.
        (b'id,text\n1,"Ann\n2,Ben\n3,Cleo\n', [b'1,"Ann\n', ("2", "Ben"), ("3", "Cleo")]),
        # The next quote is that of another field.
        (b'id,text\n1,"Ann\n2,"Ben"\n3,Cleo\n', [b'1,"Ann\n', ("2", "Ben"), ("3", "Cleo")]),
        (b'id,text\n1,"Ann\n2,x\n3,"Cleo, Dan"\n4,y\n', [b'1,"Ann\n', ("2", "x"), ("3", "Cleo, Dan"), ("4", "y")]),
        # Two of them, and a record of several lines behind.
        (b'id,text\n1,"Ann\n2,"Ben\n3,"a\nb"\n4,x', [b'1,"Ann\n', b'2,"Ben\n', ("3", "a\nb"), ("4", "x")]),
    ],
)
def test_a_quote_that_is_not_closed_takes_its_line_alone(
    content: bytes, expected: list[object], tmp_path: Path
) -> None:
    assert read(tmp_path / "a.csv", content) == expected


def test_offsets_after_lines_that_are_read_again() -> None:
    content = b'a,"b\nc,d\ne,"f\ng,h\n'
    found = list(read_rows(split_lines([content])))
    assert [(row.offset, row.raw) for row in found] == [(0, b'a,"b\n'), (5, b"c,d\n"), (9, b'e,"f\n'), (14, b"g,h\n")]
    assert [content[row.offset :][: len(row.raw)] for row in found] == [row.raw for row in found]


def test_very_many_quotes_that_are_not_closed() -> None:
    content = b'x,"y\n' * 20_000
    rows_found = list(read_rows(split_lines([content])))
    assert b"".join(row.raw for row in rows_found) == content


def test_the_program_says_what_it_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "letters.csv").write_bytes("Nr;Brief\r\n1;Anna, Köln\r\n2;Jörg\r\n".encode("utf-16"))
    with caplog.at_level(logging.INFO, "pipeline"):
        flags = ["--text_field=Brief", "--id_field=Nr", "--include_text"]
        assert main([f"--input={tmp_path}/letters.csv", f"--output={tmp_path}/out/x", *flags]) == 0
    assert f"{tmp_path}/letters.csv: read as csv, in UTF-16-LE, delimiter ';'" in caplog.text
    assert [(row["id"], row["text"]) for row in rows(tmp_path / "out")] == [("1", "Anna, Köln"), ("2", "Jörg")]


MISTAKES = {
    "no delimiter": (["--csv_delimiter=::"], "--csv_delimiter='::': not a delimiter; expected one character, or comma"),
    "a quote": (['--csv_delimiter="'], "--csv_delimiter='\"': not a delimiter"),
    "a name twice": (["--csv_header=id,id"], "--csv_header='id,id': a name is empty or occurs twice"),
    "not for text": (["--csv_header=id", "--input_format=text"], "--csv_header='id': only for csv; expected none for"),
    "one column": (["--text_field=body"], "or --csv_header for a file without a header row, or --csv_skip_lines for"),
    "other case and blanks": (["--text_field=A%B "], "expected 'a%b'"),
    "an asterisk without quotes": (["--keep_fields", "x.csv", "y.csv"], "--keep_fields='*' with quotes"),
    "no such id": (["--text_field=a%b", "--id_field=nr"], "--id_field='nr': none of the 1 columns of"),
}


@pytest.mark.parametrize(("flags", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(flags: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.csv").write_text("a%b\nsecret%x\n")
    assert main([f"--input={tmp_path}/in.csv", f"--output={tmp_path}/out/x", *flags]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "secret" not in error


def test_a_dump_of_mysql_or_postgresql(tmp_path: Path) -> None:
    dump = [
        r"1	Ann\tSmith\nLondon	x",
        r"2	\N	\N",
        "3	Ben \\\nRome	a\\\tb",  # escaped line end and tab
        r"4	C:\\new, \"Lee\"	\q",
        r"5	Zoë ''	",
        r"\.",
    ]
    fields = DocumentFields(keep=(KeptField("more", None, "more"),))
    (tmp_path / "a.tsv").write_text("\n".join(dump) + "\n")
    settings = ReadSettings(csv_header=("id", "text", "more"), csv_escape="mysql")
    found = list(read_shard(Shard(f"{tmp_path}/a.tsv"), "csv", fields, settings))
    texts = [(each.text, each.fields["more"]) if isinstance(each, Document) else each.error for each in found]
    assert texts == [
        ("Ann\tSmith\nLondon", "x"),
        f"{tmp_path}/a.tsv:23: field 'text' is null",
        ("Ben \nRome", "a\tb"),
        ('C:\\new, "Lee"', "q"),
        ("Zoë ''", ""),
    ]
    enclosed = b'"1";"a \\"b\\"; \\\nc";"\\N"\n'
    assert read(tmp_path / "b.csv", enclosed, csv_header=("id", "text", "x"), csv_escape="mysql") == [
        ("1", 'a "b"; \nc')
    ]


def test_lines_above_the_header(tmp_path: Path) -> None:
    title = b"Ticket report 2024,,\n,,\nid,text,n\n1,Ann,7\n"
    assert read(tmp_path / "a.csv", title, csv_skip_lines=2) == [("1", "Ann")]
    powershell = b'\xef\xbb\xbf#TYPE System.Management.Automation.PSCustomObject\r\n"id","text"\r\n"1","Ann"\r\n'
    assert read(tmp_path / "b.csv", powershell) == [("1", "Ann")]


def test_a_header_in_spite_of_names_is_no_document(tmp_path: Path) -> None:
    assert read(tmp_path / "a.csv", b"id, text\n1,Ann\n", csv_header=("id", "text")) == [("1", "Ann")]
