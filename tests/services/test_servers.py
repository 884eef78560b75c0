"""Beam and Google's clients against the storage and BigQuery servers, in this process and in a child."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp.bigquery import ReadFromBigQuery, WriteToBigQuery
from apache_beam.options.pipeline_options import PipelineOptions
from google.api_core.exceptions import NotFound
from google.cloud import bigquery, pubsub_v1

from services.clients import environment_of

TESTS = Path(__file__).parents[1]
SCHEMA: dict[str, Any] = {
    "fields": [
        {"name": "id", "type": "STRING", "mode": "REQUIRED"},
        {
            "name": "entities",
            "type": "RECORD",
            "mode": "REPEATED",
            "fields": [{"name": "word", "type": "STRING"}, {"name": "score", "type": "FLOAT"}],
        },
    ]
}
ROWS = [
    {"id": "a", "entities": [{"word": "Ann", "score": 0.5}, {"word": "東京", "score": 1.0}]},
    {"id": "b", "entities": []},
]


def matched(pattern: str) -> list[str]:
    return [file.path for file in FileSystems.match([pattern])[0].metadata_list]


def write(path: str, content: bytes) -> None:
    with FileSystems.create(path) as file:
        file.write(content)


def test_files_are_written_matched_read_renamed_and_deleted(bucket):
    write(f"{bucket}/in/a.txt", b"one")
    write(f"{bucket}/in/b.txt.gz", b"two")
    write(f"{bucket}/other/c.txt", b"three")
    assert sorted(matched(f"{bucket}/in/*")) == [f"{bucket}/in/a.txt", f"{bucket}/in/b.txt.gz"]
    assert FileSystems.open(f"{bucket}/in/b.txt.gz").read() == b"two"
    FileSystems.rename([f"{bucket}/in/a.txt", f"{bucket}/other/c.txt"], [f"{bucket}/out/1", f"{bucket}/out/2"])
    assert matched(f"{bucket}/in/a.txt") == []
    assert sorted(matched(f"{bucket}/out/*")) == [f"{bucket}/out/1", f"{bucket}/out/2"]
    FileSystems.delete([f"{bucket}/out/1", f"{bucket}/out/2"])
    assert not FileSystems.exists(f"{bucket}/out/1")
    assert matched(f"{bucket}/out/*") == []


def test_a_file_of_several_upload_chunks(bucket):
    content = random.Random(1).randbytes(20 << 20)
    write(f"{bucket}/big", content)
    assert FileSystems.open(f"{bucket}/big").read() == content


def test_the_server_lives_through_many_requests(bucket, storage_server):
    """It writes a line a request to its log, which nobody reads."""
    write(f"{bucket}/a", b"x")
    connection = http.client.HTTPConnection(storage_server.url.removeprefix("http://"), timeout=60)
    for name, status in [("a", 200), ("b", 404)] * 400:  # Beam's own client would take ten times as long
        connection.request("GET", f"/storage/v1/b/{bucket.removeprefix('gs://')}/o/{name}")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status


def test_a_bucket_that_is_not_there(storage_server):
    with pytest.raises(NotFound):
        FileSystems.open("gs://no-such-bucket/a")


def run(*steps: Any, **options: Any) -> None:
    with beam.Pipeline(options=PipelineOptions(project="test-project", **options)) as pipeline:
        pcoll = pipeline
        for step in steps:
            pcoll |= step


def rows(table: str) -> list[dict[str, Any]]:
    found = bigquery.Client().query(f"SELECT id, entities FROM `{table}` ORDER BY id").result()
    return [{"id": row["id"], "entities": row["entities"]} for row in found]


@pytest.mark.parametrize("method", ["STREAMING_INSERTS", "FILE_LOADS"])
def test_beam_writes_a_table(dataset, bucket, method):
    table = f"{dataset}.results"
    sink = WriteToBigQuery(
        table.replace(".", ":", 1), schema=SCHEMA, method=method, custom_gcs_temp_location=f"{bucket}/temp"
    )
    run(beam.Create(ROWS), sink)
    assert rows(table) == ROWS


@pytest.mark.parametrize("method", ["DIRECT_READ", "EXPORT"])
def test_beam_reads_a_table(dataset, bucket, method, tmp_path):
    client = bigquery.Client()
    table = f"{dataset}.texts"
    client.create_table(bigquery.Table(table, [bigquery.SchemaField("id", "STRING")]))
    assert client.insert_rows_json(table, [{"id": "a"}, {"id": "ü"}]) == []
    source = ReadFromBigQuery(table=table.replace(".", ":", 1), method=method, gcs_location=f"{bucket}/temp")
    run(source, beam.Map(str), beam.io.WriteToText(str(tmp_path / "rows")))
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    assert sorted(written.split("\n")) == ["", "{'id': 'a'}", "{'id': 'ü'}"]


def test_beam_reads_a_query(dataset, bucket, tmp_path):
    source = ReadFromBigQuery(
        query="SELECT 'x' AS id", use_standard_sql=True, method="DIRECT_READ", gcs_location=f"{bucket}/temp"
    )
    run(source, beam.Map(str), beam.io.WriteToText(str(tmp_path / "rows")))
    assert "".join(path.read_text() for path in tmp_path.iterdir()) == "{'id': 'x'}\n"


CHILD = """
import sys
from services.clients import point_beam_at
point_beam_at()
from apache_beam.io.filesystems import FileSystems
from google.cloud import bigquery
bucket, dataset = sys.argv[1:]
FileSystems.rename([bucket + "/a"], [bucket + "/b"])
print(FileSystems.open(bucket + "/b").read().decode())
print([table.table_id for table in bigquery.Client().list_tables(dataset)])
"""


def test_a_child_process_finds_them(storage_server, bigquery_server, bucket, dataset):
    write(f"{bucket}/a", b"hello")
    bigquery.Client().create_table(bigquery.Table(f"{dataset}.here", [bigquery.SchemaField("id", "STRING")]))
    command = [sys.executable, "-c", CHILD, bucket, dataset]
    environment = environment_of(storage_server, bigquery_server)
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.stdout.splitlines() == ["hello", "['here']"], result.stderr


def test_some_pubsub_server(pubsub_address):
    """What any server must do, Google's emulator too."""
    name = f"t-{uuid.uuid4().hex}"
    topic, subscription = f"projects/test-project/topics/{name}", f"projects/test-project/subscriptions/{name}"
    publisher = pubsub_v1.PublisherClient()
    publisher.create_topic(name=topic)
    with pubsub_v1.SubscriberClient() as subscriber:
        subscriber.create_subscription(name=subscription, topic=topic)
        publisher.publish(topic, b"hello", colour="blue").result(timeout=120)
        [received] = subscriber.pull(subscription=subscription, max_messages=5).received_messages
        assert (received.message.data, dict(received.message.attributes)) == (b"hello", {"colour": "blue"})
        subscriber.modify_ack_deadline(subscription=subscription, ack_ids=[received.ack_id], ack_deadline_seconds=0)
        [again] = subscriber.pull(subscription=subscription, max_messages=5).received_messages
        assert again.message.message_id == received.message.message_id
        subscriber.acknowledge(subscription=subscription, ack_ids=[again.ack_id])
        subscriber.delete_subscription(subscription=subscription)
    publisher.delete_topic(topic=topic)


def test_all_servers_for_a_shell(bigquery_server):
    """`make services`; the fixture makes sure that bqemulator is installed, so that this does not take long."""
    process = subprocess.Popen(
        [sys.executable, "-m", "services"], cwd=TESTS, stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        assert all(re.fullmatch(r"export [A-Z_]+=\S+\n", line) for line in lines)
        assert {line.split("=")[0].removeprefix("export ") for line in lines} == {
            "GOOGLE_CLOUD_PROJECT",
            "PUBSUB_EMULATOR_HOST",
            "STORAGE_EMULATOR_HOST",
            "BIGQUERY_EMULATOR_HOST",
            "BIGQUERY_STORAGE_EMULATOR_HOST",
        }
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
