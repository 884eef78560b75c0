"""Every mistake in the flags is told in one line, before anything runs; and `--help` tells of every flag."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from runs import over
from tries import Tries

from pipeline.options import NerOptions
from pipeline.run import main

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of small input files of every kind, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").write_text('{"id": "a", "text": "Ann"}\n', "utf-8")
    Path("in.csv").write_text("id,text\na,Ann\n", "utf-8")
    Path("two.csv").write_text("text,text\na,Ann\n", "utf-8")
    Path("bare.csv").write_text("7,Ann Smith was SECRETLY here\n8,Ben\n", "utf-8")
    Path("in.txt").write_text("Ann\n", "utf-8")
    Path("in.xyz").write_text("Ann\n", "utf-8")
    Path("folder").mkdir()
    schema = {"type": "record", "name": "Doc", "fields": [{"name": "text", "type": "string"}]}
    with Path("in.avro").open("wb") as file:
        fastavro.writer(file, schema, [{"text": "Ann"}])
    pq.write_table(pa.table({"text": ["Ann"]}), "in.parquet")
    return tmp_path


def refusal(flags: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What is wrong with these flags, which are those of a run that would be fine and then some that are not."""
    capsys.readouterr()
    code = main(over(["--input=in.jsonl", "--output=out/x"], flags))
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert re.fullmatch(r"beam-ner: error: [^\n]+\n", err), err
    assert "Traceback" not in err
    assert list(Path().glob("out/*")) == []  # nothing has run
    return err.removeprefix("beam-ner: error: ")


MISTAKES = {
    "a flag twice": (["--output=out/y", "--output=out/x"], ["--output: given 2 times; expected once"]),
    "inputs of several formats": (
        ["--input=in.txt", "--input", "in.jsonl"],
        ["--input: files of several formats: text (in.txt) and jsonl (in.jsonl); expected"],
    ),
    "files and a table": (["--input", "in.txt", "pro-ject:data.table"], ["'pro-ject:data.table': only files", "alone"]),
    "a flag for tables": (
        ["--granularity=entity"],
        ["--granularity=entity: has no effect", "results in a BigQuery table"],
    ),
    "a flag for streams": (["--window_seconds=5"], ["--window_seconds=5: has no effect", "streams that write files"]),
    "a flag for csv": (["--csv_formulas=keep"], ["--csv_formulas=keep: has no effect", "results in CSV"]),
    "braces": (["--input={in,on}.txt"], ["--input='{in,on}.txt': matches no file; braces are no wildcard"]),
    "commas": (["--input=in.txt,on.txt"], ["matches no file; expected --input for each of several"]),
    "a table without its project": (
        ["--output=ner.entities"],
        [
            "--output='ner.entities': not a whole name; expected PROJECT.ner.entities for a table, or ./ner.entities for files"
        ],
    ),
    "a topic without its project": (
        ["--output=topics/found"],
        ["--output='topics/found'", "expected projects/PROJECT/topics/found for Pub/Sub, or ./topics/found for files"],
    ),
    "a dead letter without its project": (
        ["--dead_letter=`ner.dead`"],
        ["--dead_letter='`ner.dead`'", "expected PROJECT.ner.dead"],
    ),
    "an input table without its project": (
        ["--input=ner.letters"],
        ["--input='ner.letters': matches no file; expected PROJECT.ner.letters"],
    ),
    "a subscription without its project": (
        ["--input=subscriptions/x"],
        ["matches no file; expected projects/PROJECT/subscriptions/x"],
    ),
    "standard input": (
        ["--input=-"],
        ["--input='-': standard input and output are not supported; expected files to read"],
    ),
    "standard output": (
        ["--output=-"],
        ["--output='-': standard input and output are not supported; expected a prefix"],
    ),
    "an input that Dataflow does not see": (
        ["--runner=DataflowRunner", "--project=p-test", "--region=r", "--output=out/x"],
        ["--input='in.jsonl': on this machine, where Dataflow's workers find nothing; expected a gs:// path"],
    ),
    "a label of another model": (
        ["--ignore_labels=O,PERSON"],
        ["--ignore_labels='PERSON': unknown", "the model's labels: ", "B-CITY"],
    ),
    "a label in place of an entity group": (
        ["--ignore_labels=B-CITY", "--aggregation_strategy=first"],
        ["--ignore_labels='B-CITY': unknown", "the model's entity groups: ", " CITY"],
    ),
    "Beam's check of all elements": (["--runtime_type_check"], ["--performance_runtime_type_check"]),
    # the input
    "no input": (["--input="], ["--input"]),
    "two inputs": (["--query=SELECT 1"], ["--input and --query", "one of them"]),
    "a table with a format": (["--input=p-x:d.t", "--input_format=csv"], ["--input_format='csv'", "columns"]),
    "a table and messages": (["--input=p-x:d.t", "--id_attribute=k"], ["--id_attribute='k'", "messages"]),
    "an unknown way to read": (["--input=p-x:d.t", "--read_method=FAX"], ["--read_method=FAX", "DIRECT_READ, EXPORT"]),
    "an export to nowhere": (["--input=p-x:d.t", "--read_method=EXPORT"], ["--read_method=EXPORT", "gs://"]),
    "a replay of csv": (["--input=", "--replay=in.jsonl", "--input_format=csv"], ["--input_format=csv", "header"]),
    "a replay of nothing": (["--input=", "--replay=gone.jsonl"], ["--replay='gone.jsonl'", "no file"]),
    "a replay of messages": (
        ["--input=", "--replay=projects/p/topics/t"],
        ["--replay='projects/p/topics/t'", "expected a subscription of it"],
    ),
    "input without a value": (["--input"], ["--input"]),
    "no such file": (["--input=gone.jsonl"], ["--input='gone.jsonl'", "no file"]),
    "a glob of no file": (["--input=gone-*.csv"], ["--input='gone-*.csv'", "no file"]),
    "a folder": (["--input=folder"], ["--input='folder'", "a folder without a file; expected"]),
    "a folder with a slash": (["--input=folder/"], ["--input='folder/'", "a folder without a file; expected"]),
    "an unknown scheme": (["--input=nosuch://b/x.csv"], ["--input='nosuch://b/x.csv'"]),
    "an unknown ending": (["--input=in.xyz"], ["in.xyz", "--input_format", ".jsonl"]),
    "an unknown format": (["--input_format=xml"], ["--input_format='xml'", "text, jsonl, csv, avro, parquet"]),
    "no such column, jsonl": (["--text_field=body"], ["--text_field='body'", "in.jsonl", "id, text"]),
    "no such column, csv": (["--input=in.csv", "--text_field=body"], ["--text_field='body'", "in.csv", "2 columns"]),
    "no such column, avro": (["--input=in.avro", "--text_field=body"], ["--text_field='body'", "in.avro", "text"]),
    "no such column, parquet": (["--input=in.parquet", "--text_field=body"], ["--text_field='body'", "in.parquet"]),
    "one name for two columns": (["--input=two.csv"], ["--text_field='text'", "two.csv", "several"]),
    "csv without a header": (["--input=bare.csv"], ["--text_field='text'", "bare.csv", "2"]),
    # the output
    "no output": (["--output="], ["--output"]),
    "output is a folder": (["--output=folder"], ["--output='folder'", "a folder", "folder/entities"]),
    "output ends in a slash": (["--output=new/"], ["--output='new/'", "a folder", "new/entities"]),
    "output under a file": (["--output=in.txt/x"], ["--output='in.txt/x'", "cannot be written"]),
    "output that cannot be written": (["--output=/proc/x/y"], ["--output='/proc/x/y'", "cannot be written"]),
    "output with a wildcard": (["--output=out/x*"], ["--output=out/x*", "expected none of"]),
    "output on an unknown scheme": (["--output=nosuch://b/x"], ["--output='nosuch://b/x'"]),
    "compressed avro": (["--output=out/x.avro.gz"], ["--output=out/x.avro.gz", "expected no .gz"]),
    "loads from nowhere": (["--output=p-x:d.t"], ["--write_method=FILE_LOADS", "--temp_location=gs://"]),
    "an unknown way to write": (["--output=p-x:d.t", "--write_method=FAX"], ["--write_method=FAX", "FILE_LOADS"]),
    "an unknown kind of row": (["--output=p-x:d.t", "--granularity=word"], ["--granularity=word", "document, entity"]),
    "a text for each entity": (
        ["--output=p-x:d.t", "--granularity=entity", "--include_text"],
        ["--include_text", "expected granularity=document"],
    ),
    "an unknown disposition": (
        ["--create_disposition=MAYBE"],
        ["--create_disposition='MAYBE': unknown; expected one of CREATE_IF_NEEDED, CREATE_NEVER\n"],
    ),
    "a table with an output format": (
        ["--output=p-x:d.t", "--output_format=csv"],
        ["--output_format='csv': only for files; expected none with --output='p-x:d.t', which is a table\n"],
    ),
    "a topic with an output format": (
        ["--output=projects/p/topics/t", "--output_format=csv"],
        ["--output_format='csv': only for files; expected none, or jsonl, with --output=", "which is a topic\n"],
    ),
    "windows of no length": (["--window_seconds=0"], ["--window_seconds=0", "at least 1"]),
    "no patience": (["--allowed_lateness_seconds=-1"], ["--allowed_lateness_seconds=-1", "at least 0"]),
    "a model that cannot change": (["--model_refresh_seconds=5"], ["--model='rampart'", "cannot be refreshed"]),
    "a look every moment": (["--model_refresh_seconds=0"], ["--model_refresh_seconds=0", "above 0"]),
    "an unknown output format": (["--output_format=xml"], ["--output_format='xml'", "jsonl, csv, avro, parquet"]),
    "text is no output format": (["--output_format=text"], ["--output_format='text'", "jsonl, csv, avro, parquet"]),
    "csv has no place for texts": (
        ["--output=out/x.csv", "--include_text"],
        ["--include_text: not for csv", "; expected output_format jsonl, avro or parquet"],
    ),
    "a dead letter among the results": (["--dead_letter=out/x"], ["--dead_letter='out/x'", "--output='out/x'"]),
    "a dead letter by another name": (["--dead_letter=out/x.jsonl"], ["--dead_letter='out/x.jsonl'", "--output="]),
    "a dead letter that is a folder": (["--dead_letter=folder"], ["--dead_letter='folder'", "a folder"]),
    "a dead letter under a file": (["--dead_letter=in.txt/x"], ["--dead_letter='in.txt/x'", "cannot be written"]),
    "a dead letter with a wildcard": (["--dead_letter=out/y*"], ["--dead_letter=out/y*", "expected none of"]),
    # numbers
    "negative shards": (["--num_shards=-1"], ["--num_shards=-1", "at least 0"]),
    "half a shard": (["--num_shards=1.5"], ["--num_shards='1.5': invalid; expected a whole number"]),
    "no tokens": (["--max_batch_tokens=0"], ["--max_batch_tokens=0", "at least 1"]),
    "no threads": (["--threads=0"], ["--threads=0", "at least 1"]),
    "no characters": (["--max_document_chars=0"], ["--max_document_chars=0", "at least 1"]),
    "time below 0": (["--batch_timeout_seconds=-1"], ["--batch_timeout_seconds=-1", "at least 0"]),
    "no limit at all": (["--batch_timeout_seconds=inf"], ["--batch_timeout_seconds=inf", "at least 0"]),
    "special tokens of no kind": (
        ["--special_tokens=ignored"],
        ["--special_tokens='ignored': unknown; expected one of text, special"],
    ),
    "score above 1": (["--min_score=2"], ["--min_score=2", "between 0 and 1"]),
    "score below 0": (["--min_score=-0.1"], ["--min_score=-0.1", "between 0 and 1"]),
    "score of no number": (["--min_score=nan"], ["--min_score=nan", "between 0 and 1"]),
    "score in words": (["--min_score=high"], ["--min_score='high': invalid; expected a number\n"]),
    # the stride: a window of 512 tokens has two special ones
    "stride as long as the window": (["--stride=510"], ["--stride=510", "below 510", "512", "2 special"]),
    "negative stride": (["--stride=-1"], ["--stride=-1", "at least 0"]),
    # choices
    "an unknown strategy": (
        ["--aggregation_strategy=best"],
        ["--aggregation_strategy='best'", "none, simple, first, average, max"],
    ),
    "an unknown engine": (["--engine=jax"], ["--engine='jax': unknown", "openvino"]),
    "an unknown precision": (["--precision=fp8"], ["--precision='fp8': unknown", "bf16"]),
    "an unknown way with long texts": (["--long_text=drop"], ["--long_text='drop': unknown", "truncate"]),
    "an unknown join": (["--window_join=both"], ["--window_join='both': unknown", "tokens"]),
    "an unknown device": (["--device=abacus"], ["--device='abacus'"]),
    "an engine that cannot read the model": (["--engine=torch"], ["--engine='torch'", "rampart"]),
    "a device that the engine cannot use": (["--engine=openvino", "--device=cuda:0"], ["--device='cuda:0'"]),
    # the model's name
    "no model": (["--model="], ["--model=''"]),
    "a wrong revision": (["--model=nobody/nothing", "--model_revision=v9"], ["--model='nobody/nothing'"]),
    "a revision in the name": (["--model=nobody/nothing@v9"], ["--model='nobody/nothing@v9'"]),
    "a path in the name": (["--model=nobody/nothing/tree/main"], ["--model='nobody/nothing/tree/main'"]),
    "a web address": (["--model=https://huggingface.co/a/b"], ["--model='https://huggingface.co/a/b'"]),
    "a file": (["--model=in.txt"], ["--model='in.txt'"]),
    "a folder without a checkpoint": (["--model=folder"], ["--model='folder'", "config.json"]),
    "a wrong tokenizer": (["--tokenizer=nobody/nothing"], ["--tokenizer='nobody/nothing'"]),
    "a folder without a tokenizer": (["--tokenizer=folder"], ["--tokenizer='folder'"]),
    # flags that are none
    "a misspelt flag": (["--agregation_strategy=first"], ["--agregation_strategy", "such as --aggregation_str"]),
    "a flag with hyphens": (["--include-text"], ["--include-text", "such as --include_text\n"]),
    "half a flag": (["--aggregation=first"], ["--aggregation", "not a flag"]),
    "a misspelt flag of Beam's": (["--direct_num_worker=1"], ["such as --direct_num_workers\n"]),
    "a flag unlike any": (["--zzzzzz"], ["--zzzzzz", "--help"]),
    "a file without a flag": (["in.csv"], ["'in.csv'", "--input"]),
    "a wrong value of Beam's": (
        ["--direct_num_workers=many"],
        ["--direct_num_workers='many': invalid; expected a whole number"],
    ),
    "an unknown runner": (["--runner=NoSuchRunner"], ["NoSuchRunner"]),
    # portable runners
    "a misspelt flag for a job server": (
        ["--runner=FlinkRunner", "--parallelism=2", "--checkpointing_interval=1000", "--agregation_strategy=first"],
        ["--agregation_strategy", "such as --aggregation_strategy\n"],
    ),
    "no job server": (["--runner=portable"], ["--runner=PortableRunner", "--job_endpoint=host:port"]),
    "a job server of no place": (
        ["--runner=PortableRunner", "--job_endpoint=here"],
        ["--job_endpoint=here", "host:port"],
    ),
    "a machine that cannot be": (
        ["--runner=PortableRunner", "--job_endpoint=job..server:8099"],
        ["--job_endpoint=job..server:8099", "no job server answers"],
    ),
    "a port that cannot be": (
        ["--runner=FlinkRunner", "--job_endpoint=localhost:80990"],
        ["--job_endpoint=localhost:80990", "host:port"],
    ),
    "an unknown place for workers": (
        ["--runner=FlinkRunner", "--environment_type=SHED"],
        ["--environment_type=SHED", "DOCKER, PROCESS, EXTERNAL, LOOPBACK"],
    ),
    "workers by no command": (
        ["--runner=FlinkRunner", "--environment_type=PROCESS", "--environment_config={'command': 'worker'}"],
        ["--environment_config=", "{'command': 'worker'}", "beam-ner-worker"],
    ),
    "a pool of workers nowhere": (
        ["--runner=FlinkRunner", "--environment_type=EXTERNAL"],
        ["--environment_type=EXTERNAL", "--environment_config=host:port"],
    ),
    "half a process": (
        ["--runner=FlinkRunner", "--sdk_worker_parallelism=0.5"],
        ["--sdk_worker_parallelism=0.5", "number of processes"],
    ),
    # what Dataflow is asked for
    "a GPU for nobody": (["--accelerator=nvidia-l4"], ["--accelerator='nvidia-l4'", "Dataflow"]),
    "a device that no worker has": (
        ["--runner=DataflowRunner", "--device=cuda:0"],
        ["--device='cuda:0'", "--accelerator=nvidia-l4"],
    ),
    "two GPUs": (
        ["--runner=DataflowRunner", "--accelerator=nvidia-l4", "--resource_hint=accelerator=type:nvidia-tesla-t4"],
        ["--accelerator=nvidia-l4 and --resource_hint=accelerator=type:nvidia-tesla-t4", "one of them"],
    ),
}


@pytest.mark.parametrize(("flags", "told"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_in_one_line(
    flags: list[str], told: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = refusal(flags, capsys)
    assert [part for part in told if part not in sentence] == [], sentence
    assert "SECRETLY" not in sentence


@pytest.mark.parametrize("name", ["nobody/nothing", "rampat", "./gone"])
def test_a_wrong_model_name_is_told_at_once(
    name: str, here: Path, tries: Tries, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = refusal([f"--model={name}"], capsys)
    assert (tries.hosts, tries.sleeps) == ([], [])
    assert sentence.startswith(f"--model={name!r}: ")


@pytest.mark.parametrize(("flag", "present"), [("--input", "--output=out/x"), ("--output", "--input=in.jsonl")])
def test_a_flag_that_is_not_there_at_all(
    flag: str, present: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([present]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"beam-ner: error: {flag}: missing; expected [^\n]+\n", err)


# Files that a second run would find


@pytest.mark.parametrize(
    ("pattern", "written"),
    [
        ("data/*.jsonl", "data/x-00000-of-00001.jsonl"),
        ("data/*", "data/x-00002-of-00003.jsonl"),
        # What failed is deleted when the run begins.
        ("data/*.jsonl", "data/x-failures-00000-of-00001.jsonl"),
    ],
    ids=["results", "one of three shards", "failures"],
)
def test_a_run_does_not_read_its_own_output(
    pattern: str, written: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("data").mkdir()
    shutil.copy("in.jsonl", "data/in.jsonl")
    shutil.copy("in.jsonl", written)
    sentence = refusal([f"--input={pattern}", "--input_format=jsonl", "--output=data/x"], capsys)
    assert f"--input={pattern!r}" in sentence
    assert written in sentence


def test_a_run_knows_its_own_output_by_any_path(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("data").mkdir()
    Path("link").symlink_to("data")
    shutil.copy("in.jsonl", "data/x-00000-of-00001.jsonl")
    for pattern in (f"{Path.cwd()}/data/*.jsonl", "./data/*.jsonl", "link/*.jsonl"):
        assert "a file of this run's output" in refusal([f"--input={pattern}", "--output=data/x"], capsys)
    assert Path("data/x-00000-of-00001.jsonl").exists()


def test_input_beside_the_output_is_read(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("x.jsonl", "x-1.jsonl", "y-00000-of-00001.jsonl"):
        shutil.copy("in.jsonl", f"folder/{name}")
    assert main(["--input=folder/*.jsonl", "--output=folder/x"]) == 0
    assert "3 results" in capsys.readouterr().out


# Checkpoints that will not do


def test_a_strategy_that_needs_a_fast_tokenizer(
    here: Path, checkpoint: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = refusal([f"--model={checkpoint('slow_wordpiece')}", "--aggregation_strategy=first"], capsys)
    assert "--aggregation_strategy='first'" in sentence
    assert "simple or none" in sentence


def test_a_model_without_labels_for_tokens(
    here: Path, checkpoint: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(checkpoint("bert_cased"), "masked")
    config = json.loads(Path("masked/config.json").read_text("utf-8"))
    Path("masked/config.json").write_text(json.dumps({**config, "architectures": ["BertForMaskedLM"]}), "utf-8")
    sentence = refusal(["--model=masked"], capsys)
    assert "--model='masked'" in sentence
    assert "BertForMaskedLM" in sentence


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("no weights", "neither safetensors nor ONNX weights"),
        ("pickled weights", "allow_pickle_weights"),
        ("weights cut short", "--model="),
        ("a configuration that is no JSON", "config.json"),
        ("a configuration of an unknown kind", "--model="),
        ("no tokenizer", "tokenizer"),
        ("a tokenizer cut short", "tokenizer"),
    ],
)
def test_a_broken_checkpoint(
    broken: str, told: str, here: Path, checkpoint: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(checkpoint("bert_cased"), here / "bad"))
    if broken == "no weights":
        (folder / "model.safetensors").unlink()
    elif broken == "pickled weights":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    elif broken == "weights cut short":
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    elif broken == "a configuration that is no JSON":
        (folder / "config.json").write_text("{", "utf-8")
    elif broken == "a configuration of an unknown kind":
        config = json.loads((folder / "config.json").read_text("utf-8"))
        (folder / "config.json").write_text(json.dumps({**config, "model_type": "sibylline"}), "utf-8")
    elif broken == "no tokenizer":
        for path in folder.glob("*token*"):
            path.unlink()
    else:
        (folder / "tokenizer.json").write_text('{"model": ', "utf-8")
    sentence = refusal([f"--model={folder}"], capsys)
    assert told in sentence
    assert "bad" in sentence


# As a process


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--model=nobody/nothing", "--model='nobody/nothing'"),
        ("--min_score=2", "--min_score=2"),
    ],
)
def test_a_process_says_one_line(flag: str, told: str, here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", f"--input={here}/in.jsonl", f"--output={here}/out/x", flag],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"beam-ner: error: [^\n]+\n", done.stderr)
    assert told in done.stderr


# Help


WITHOUT_A_DEFAULT = ("input", "query", "replay", "output", "model_revision", "tokenizer")


@pytest.fixture
def help_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def own_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    NerOptions._add_argparse_args(parser)
    return parser


def flag_help(help_text: str) -> dict[str, tuple[str, str]]:
    """The group and the help of each flag, the help on one line."""
    found: dict[str, tuple[str, str]] = {}
    group = flag = ""
    for line in help_text.partition("\n\n")[2].splitlines():
        if heading := re.fullmatch(r"(\w[\w ]*):", line):
            group = heading.group(1)
        elif opening := re.match(r"  (?:-h, )?(--\w+)", line):
            flag = opening.group(1)
            found[flag] = (group, line)
        elif line.startswith("   "):
            found[flag] = (group, f"{found[flag][1]} {line.strip()}")
    return found


def test_help_groups_every_flag(help_text: str) -> None:
    shown = {flag: group for flag, (group, _) in flag_help(help_text).items()}
    groups = own_parser()._action_groups
    expected = {action.option_strings[0]: group.title for group in groups for action in group._group_actions}
    assert shown == {"--help": "options", **expected}
    assert {"input", "output", "output to BigQuery", "model", "entities", "batching"} == set(expected.values())


@pytest.mark.parametrize("action", own_parser()._actions, ids=lambda action: action.dest)
def test_help_tells_of_a_flag_and_its_default(action: argparse.Action, help_text: str) -> None:
    (flag,) = action.option_strings
    assert re.fullmatch(r"--[a-z]+(_[a-z]+)*", flag)
    told = flag_help(help_text)[flag][1]
    assert len(told) > len(flag) + 20
    assert ("(default: " in told) == (action.nargs not in (0, "?") and action.dest not in WITHOUT_A_DEFAULT)
    if "(default: " in told and action.default is not None:
        assert f"(default: {action.default})" in told
    for choice in action.choices or ():
        assert choice in told
