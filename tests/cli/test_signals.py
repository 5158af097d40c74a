"""Interrupts and closed pipes."""

import json
import os
import pty
import select
import signal
import subprocess
import time

import pytest

LONG = ["--prompts-file", "-", "--ignore-eos", "--max-tokens", "1500", "--json"]


def test_ctrl_c_cancels_a_batch_with_130(miniinfer):
    process = subprocess.Popen([miniinfer, "run", *LONG], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    process.stdin.write('{"prompt_token_ids": [5]}\n' * 2000)
    process.stdin.close()
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    assert process.wait(timeout=20) == 130
    assert time.monotonic() - start < 5


def test_ctrl_c_ends_a_stream_with_130(miniinfer):
    process = subprocess.Popen([miniinfer, "run", "hi", "--ignore-eos", "--max-tokens", "1900"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130


@pytest.mark.parametrize("written", [None, "", '{"text": "a"}\n'])
@pytest.mark.parametrize("command", [["run", "--json", "--prompts-file"], ["tokenize", "tiny-assistant", "--input-file"]])
def test_ctrl_c_while_a_named_pipe_is_waited_for(miniinfer, tmp_path, command, written):
    """Whether somebody has the pipe open, and has written, or not."""
    pipe = tmp_path / "lines"
    os.mkfifo(pipe)
    process = subprocess.Popen([miniinfer, *command, pipe], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    writer = None if written is None else os.open(pipe, os.O_RDWR)
    if writer is not None:
        os.write(writer, written.encode())
    with pytest.raises(subprocess.TimeoutExpired):  # it waits
        process.wait(timeout=1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    if writer is not None:
        os.close(writer)


def test_ctrl_c_stops_the_lines_that_were_read_ahead(miniinfer, tmp_path):
    many = tmp_path / "many.jsonl"
    many.write_text('{"text": "word"}\n' * 4_000_000)
    process = subprocess.Popen([miniinfer, "tokenize", "tiny-assistant", "--input-file", many], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    answered = 1 + process.stdout.read().count(b"\n")
    assert process.wait(timeout=20) == 130
    assert answered < 4_000_000


def test_a_reader_that_leaves_ends_the_program_quietly(miniinfer):
    process = subprocess.Popen([miniinfer, "run", "hi", "--ignore-eos", "--max-tokens", "1900"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    process.stdout.read(1)
    process.stdout.close()
    assert process.wait(timeout=20) == 141
    assert process.stderr.read() == b""


def test_a_partner_on_the_pipes_gets_each_answer_before_it_asks_again(miniinfer):
    process = subprocess.Popen([miniinfer, "run", "--prompts-file", "-", "--json", "--max-tokens", "2"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    for token in range(3, 8):
        process.stdin.write('{"prompt_token_ids": [%d]}\n' % token)
        assert json.loads(process.stdout.readline())["prompt_token_ids"] == [token]
    process.stdin.close()
    assert process.wait(timeout=20) == 0


class Terminal:
    """The program on a pseudo-terminal."""

    def __init__(self, *command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "dumb"
            os.execv(command[0], [str(word) for word in command])
        self.seen = ""

    def wait_for(self, text, timeout=20):
        end = time.monotonic() + timeout
        while text not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], max(end - time.monotonic(), 0))
            assert ready, f"no {text!r} in {self.seen!r}"
            self.seen += os.read(self.fd, 65536).decode(errors="replace")
        before, self.seen = self.seen.split(text, 1)
        return before

    def type(self, text):
        os.write(self.fd, text.encode())

    def exit_code(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_ctrl_c_in_a_chat_stops_the_answer_only(miniinfer, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    chat = Terminal(miniinfer, "chat", "--ignore-eos", "--max-tokens", "1900", "--temperature", "1")
    chat.wait_for("> ")
    time.sleep(0.3)  # the line editor shows its prompt before it takes the terminal over
    chat.type("hello\n")
    chat.wait_for("hello")
    chat.wait_for("\n")
    chat.wait_for(" ")  # the answer has begun
    chat.type("\x03")
    chat.wait_for("> ")
    chat.type("/stats\n")
    chat.wait_for("last answer:")
    chat.wait_for("> ")
    chat.type("half a line\x03")
    chat.wait_for("> ")
    chat.type("/exit\n")
    assert chat.exit_code() == 0
    assert "hello" in (tmp_path / ".miniinfer_history").read_text()
