"""Handing a job to Dataflow: what is said of it, and that nobody waits for its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from services.clients import PROJECT
from services.dataflow_server import DataflowServer

from pipeline.run import main


def flags(bucket: str, tmp_path: Path) -> list[str]:
    (tmp_path / "in.txt").write_text("My name is Ann Smith.\n")
    return [
        f"--input={tmp_path}/in.txt", f"--output={bucket}/out", "--runner=DataflowRunner", f"--project={PROJECT}",
        "--region=europe-west4", f"--temp_location={bucket}/temp", "--job_name=ner-1",
    ]  # fmt: skip


def test_a_job_is_submitted_and_not_waited_for(bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with DataflowServer() as dataflow:
        given = [f"--dataflow_endpoint={dataflow.endpoint}", f"--dataflow_job_file={tmp_path}/job.json"]
        assert main([*flags(bucket, tmp_path), *given]) == 0
    assert "job job-1 is submitted" in capsys.readouterr().out
    (job,) = dataflow.jobs
    assert job["path"] == f"/v1b3/projects/{PROJECT}/locations/europe-west4/jobs"
    written = json.loads((tmp_path / "job.json").read_text())
    assert written["name"] == job["name"] == "ner-1"
    assert written["environment"]["experiments"] == job["environment"]["experiments"]


@pytest.mark.parametrize(("flag", "said"), [
    ("--template_location={folder}/job.json", "the job is described in {folder}/job.json"),
    ("--dry_run=True", "the job was built, and not submitted"),
])  # fmt: skip
def test_a_job_that_is_not_submitted(
    flag: str, said: str, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*flags(bucket, tmp_path), flag.format(folder=tmp_path)]) == 0
    assert said.format(folder=tmp_path) in capsys.readouterr().out
