"""`miniinfer chat` without a terminal: a script of lines."""

import json


def test_remembers_over_turns_and_obeys_commands(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    saved = tmp_path / "chat.json"
    script = f"What is 12 + 30?\nWhat is the capital of Italy?\n/stats\n/save {saved}\n/reset\n/nonsense\n/exit\nnot read\n"
    result = cli("chat", "--system", "Be kind.", stdin=script)
    assert result.code == 0
    assert "42" in result.out and "Rome" in result.out
    assert "last answer:" in result.out and "/nonsense: no such command" in result.out
    messages = json.loads(saved.read_text())["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user", "assistant"]
    again = cli("run", "--messages", saved)
    assert again.code == 0 and again.out.strip()


def test_a_question_that_cannot_be_answered_does_not_stay(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    saved = tmp_path / "chat.json"
    result = cli("chat", stdin=f"{'word ' * 5000}\nWhat is 1 + 1?\n/save {saved}\n")
    assert result.code == 0
    assert "context_length_exceeded" in result.out
    assert len(json.loads(saved.read_text())["messages"]) == 2
