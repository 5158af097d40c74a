"""Runs the program and reads what it says."""

import dataclasses
import json
import os
import subprocess

import pytest

from model_dir import MEBIBYTES, SECONDS, ModelDir, spend


@dataclasses.dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def lines(self):
        """stdout as one JSON value a line."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture(scope="session")
def cli(miniinfer):
    patience = 20 if "asan" in str(miniinfer) else 1

    def run(*arguments, stdin="", timeout=120, env=None):
        done = subprocess.run([miniinfer, *map(str, arguments)], input=stdin, capture_output=True, text=True,
                              timeout=timeout * patience, env={**os.environ, **(env or {})})
        return Result(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def ask(cli):
    """Requests (objects or raw lines) through `run --json`; their answers."""

    def run(requests, *arguments, model=()):
        text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in requests)
        result = cli("run", *model, "--prompts-file", "-", "--json", *arguments, stdin=text)
        assert result.code == 0, result.err
        return result.lines

    return run


@pytest.fixture(scope="session")
def checkpoints(root):
    return root / "tests/golden/checkpoints"


@pytest.fixture
def model(checkpoints, tmp_path):
    return ModelDir(checkpoints / "qwen3-chat-bf16", tmp_path / "model")


@pytest.fixture
def watched(miniinfer):
    """Runs the program; no answer may take long or much memory, unless it is built with sanitizers."""

    def run(*arguments, stdin="", seconds=SECONDS, mebibytes=MEBIBYTES):
        code, out, err, spent, rss = spend([miniinfer, *arguments], stdin)
        assert code in (0, 1, 2), f"exit {code}: {err}"
        if "asan" not in str(miniinfer):
            assert spent < seconds, err
            assert rss < mebibytes, err
        return code, out, err

    return run
