"""A small checkpoint to break, and the program run on it under a watch of time and memory."""

import json
import os
import re
import resource
import shutil
import struct
import subprocess
import tempfile
import time

SECONDS, MEBIBYTES = 5, 400
QUESTION = '{"prompt": "The quick brown fox", "max_tokens": 2}\n'


class ModelDir:
    """A copy of a golden checkpoint whose parts can be changed."""

    def __init__(self, source, path):
        self.path = path
        shutil.copytree(source, path, ignore=shutil.ignore_patterns("expected.json", "run.jsonl", "config.*.json"))

    def read(self, name):
        return json.loads((self.path / name).read_text())

    def write(self, name, content):
        """Text and bytes as they are, anything else as JSON."""
        path = self.path / name
        path.unlink(missing_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))

    def config(self, **fields):
        self.write("config.json", {**self.read("config.json"), **fields})

    def tensors(self):
        """The header of model.safetensors, and its data."""
        blob = (self.path / "model.safetensors").read_bytes()
        (length,) = struct.unpack("<Q", blob[:8])
        return json.loads(blob[8 : 8 + length]), blob[8 + length :]

    def write_tensors(self, header, data, name="model.safetensors"):
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        self.write(name, struct.pack("<Q", len(text)) + text + data)


def spend(command, stdin="", timeout=30):
    """(exit code, stdout, stderr, seconds, peak RSS in MiB)."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        start = time.monotonic()
        process = subprocess.Popen(list(map(str, command)), stdin=given, stdout=out, stderr=err,
                                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (timeout, timeout)))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        return (process.returncode, out.read().decode(), err.read().decode(), time.monotonic() - start,
                usage.ru_maxrss / 1024)


def refused(watched, model, named, reason="", seconds=SECONDS, mebibytes=MEBIBYTES):
    """`run` says in one line which file and field it refuses; the verbs that only look do not crash."""
    limits = {"seconds": seconds, "mebibytes": mebibytes}
    code, out, err = watched("run", model.path, "--prompts-file", "-", "--json", stdin=QUESTION, **limits)
    assert code == 1, err
    assert out == ""
    assert re.fullmatch(r"error: [^\n]*" + re.escape(named) + r"[^\n]*\n", err), err
    assert reason in err, err
    for verb in ("inspect", "tokenize"):
        code, _, err = watched(verb, model.path, *(["hi"] if verb == "tokenize" else []), **limits)
        if code != 0:
            assert re.fullmatch(r"error: [^\n]+\n", err), err
