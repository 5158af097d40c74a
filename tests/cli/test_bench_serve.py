"""`bench serve` against a server whose timings are known."""

import json
import random
import ssl
import subprocess

import pytest
from scripted_server import ScriptedServer

LATE_MS = 400  # how late a busy machine may be once; in the middle it is not


@pytest.fixture
def server():
    server = ScriptedServer()
    yield server
    server.shutdown()


@pytest.fixture
def load(cli, server, tmp_path):
    """Scripts, one a request, as a load; the figures."""

    def run(scripts, *arguments, code=0):
        lines = tmp_path / "lines.jsonl"
        lines.write_text("".join(json.dumps({"prompt": "x", "script": script}) + "\n" for script in scripts))
        result = cli("bench", "serve", "--base-url", server.url, "--dataset-path", lines, "--num-warmups", 0,
                     "--output-json", "-", *arguments)
        assert result.code == code, result.err
        return json.loads(result.out)

    return run


def quantile(values, share):
    values = sorted(values)
    at = share * (len(values) - 1)
    low = int(at)
    return values[low] + (at - low) * (values[min(low + 1, len(values) - 1)] - values[low])


def test_times_are_the_scripts_and_percentiles_exact(load):
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    scripts = [{"gaps_s": [rng.uniform(0, 0.3)] + [rng.uniform(0, 0.03) for _ in range(rng.randint(1, 20))]}
               for _ in range(24)]
    figures = load(scripts, "--save-detailed")
    assert figures["completed"] == 24 and figures["failed"] == 0
    assert figures["input_tokens"] == 72
    assert figures["output_tokens"] == sum(len(script["gaps_s"]) for script in scripts)
    gaps, late = [], []
    for script, request in zip(scripts, figures["requests"]):
        first, rest = 1e3 * script["gaps_s"][0], 1e3 * sum(script["gaps_s"][1:])
        late += [request["ttft_ms"] - first, request["e2el_ms"] - first - rest]
        assert len(request["itl_ms"]) == len(script["gaps_s"]) - 1
        assert request["tpot_ms"] == pytest.approx(
            (request["e2el_ms"] - request["ttft_ms"]) / (request["output_tokens"] - 1))
        gaps += request["itl_ms"]
    assert min(late) >= 0 and max(late) < LATE_MS and quantile(late, 0.5) < 100
    for name, values in [("itl", gaps)] + [(key, [request[f"{key}_ms"] for request in figures["requests"]])
                                           for key in ["ttft", "tpot", "e2el"]]:
        assert figures[f"{name}_mean_ms"] == pytest.approx(sum(values) / len(values))
        for share in [50, 90, 99]:
            assert figures[f"{name}_p{share}_ms"] == pytest.approx(quantile(values, share / 100), abs=1e-9)
    assert figures["output_tokens_per_s"] == pytest.approx(figures["output_tokens"] / figures["duration_s"])


def test_goodput_counts_requests_within_all_objectives(load):
    fast, late, slow = [0.0] * 5, [0.5] + [0.0] * 4, [0.0] + [0.2] * 4
    figures = load([{"gaps_s": gaps} for gaps in [fast, late, slow, fast]], "--goodput", "ttft:300", "tpot:100")
    assert figures["goodput_percent"] == 50
    assert figures["goodput_requests_per_s"] == pytest.approx(2 / figures["duration_s"])
    assert (figures["goodput_ttft_ms"], figures["goodput_tpot_ms"]) == (300, 100)


def test_slow_answers_do_not_hold_back_the_load(load, server):
    figures = load([{"gaps_s": [1.0]}] * 20, "--request-rate", 100, "--burstiness", "inf")
    assert [request["arrival_s"] for request in figures["requests"]] == pytest.approx([i / 100 for i in range(20)])
    came = [at for at, *_ in server.requests]
    assert came[-1] - came[0] < 0.19 + LATE_MS / 1e3
    assert figures["max_in_flight"] == 20
    assert figures["launch_delay_p99_ms"] < LATE_MS


def test_a_cap_holds_and_its_wait_is_shown(load, server):
    figures = load([{"gaps_s": [0.1]}] * 9, "--max-concurrency", 3)
    assert server.counts["most busy"] == 3 and figures["max_in_flight"] == 3
    assert 0.3 <= figures["duration_s"] < 0.3 + LATE_MS / 1e3
    assert figures["launch_delay_p99_ms"] > 190
    assert figures["ttft_p99_ms"] < 100 + LATE_MS


def test_connections_are_kept_and_replaced_when_closed(load, server):
    load([{"gaps_s": [0]}] * 10, "--max-concurrency", 1)
    assert server.counts["connections"] == 2  # one asked for the models
    figures = load([{"gaps_s": [0], "close": True}] * 10, "--max-concurrency", 1)
    assert figures["completed"] == 10


def test_a_seed_gives_the_same_arrivals(load):
    once, again, other = (
        [request["arrival_s"] for request in
         load([{"gaps_s": [0]}] * 8, "--request-rate", 200, "--seed", seed)["requests"]] for seed in [5, 5, 6])
    assert once == again != other


def test_failures_are_counted_by_what_they_say(load):
    figures = load([{"gaps_s": [0]}, {"status": 503}, {"status": 429}, {"status": 400}, {"gaps_s": [0], "error": "broke"},
                    {"gaps_s": [0], "cut": True}])
    assert (figures["completed"], figures["failed"], figures["rejected"]) == (1, 5, 2)
    assert figures["errors"] == {"503: as the script says": 1, "429: as the script says": 1, "400: as the script says": 1,
                                 "broke": 1, "the stream ended without [DONE]": 1}
    assert 0 < figures["reject_first_byte_p99_ms"] < LATE_MS
    figures = load([{"status": 500}], code=1)
    assert figures["completed"] == 0


def test_a_request_times_out(load):
    figures = load([{"gaps_s": [5]}], "--request-timeout", 0.2, code=1)
    assert figures["failed"] == 1 and figures["duration_s"] < 1


def test_the_random_workload_fits_the_servers_context(cli):
    server = ScriptedServer(context=512)
    result = cli("bench", "serve", "--base-url", server.url + "/v1", "--num-prompts", 5, "--output-json", "-", "--api-key", "k")
    assert result.code == 0, result.err
    figures = json.loads(result.out)
    assert figures["input_len"] == "25:256" and figures["model"] == "scripted"
    assert len(server.requests) == 6  # one warms up
    for _, path, body, key in server.requests:
        assert (path, key, body["model"]) == ("/v1/completions", "Bearer k", "scripted")
        assert 25 <= len(body["prompt"]) <= 256 and 25 <= body["max_tokens"] <= 256
        assert body["ignore_eos"] is True and body["temperature"] == 0.6
    server.shutdown()


def test_the_page_compares_two_runs(cli, server, tmp_path):
    old, page = tmp_path / "old.json", tmp_path / "page.html"
    arguments = ["bench", "serve", "--base-url", server.url, "--num-prompts", 3]
    assert cli(*arguments, "--output-json", old, "--label", "before").code == 0
    result = cli(*arguments, "--compare", old, "--report-html", page, "--label", "after & <b>")
    assert result.code == 0, result.err
    assert "time to first token" in result.out and "against the other run" in result.out
    text = page.read_text()
    assert "before" in text and "after &#38; &#60;b&#62;" in text and "<svg" in text
    assert "<script" not in text and "http" not in text.replace(server.url, "")


@pytest.mark.parametrize("arguments, reason", [
    (["--base-url", "ftp://x"], "base-url: must begin with http"),
    (["--base-url", "http://x", "--port", "1"], "--base-url"),
    (["--request-rate", "0"], "positive"),
    (["--request-rate", "nan"], "positive"),
    (["--burstiness", "-1"], "positive"),
    (["--max-concurrency", "0"], "max-concurrency"),
    (["--goodput", "speed:1"], "goodput"),
    (["--endpoint", "/v1/chat/completions"], "--dataset-path"),
    (["--dataset-path", "/nowhere"], "/nowhere"),
    (["--input-len", "9:3"], "input-len"),
    (["--dataset-path", "x", "--input-len", "5"], "excludes"),
    (["--dataset-path", "x", "--temperature", "1"], "excludes"),
    (["--burstiness", "2"], "requires"),
    (["--save-detailed"], "requires"),
    (["--output-json", "-", "--compare", "x"], "report-html"),
])
def test_wrong_flags_are_refused(cli, server, arguments, reason):
    where = [] if "--base-url" in arguments else ["--base-url", server.url]
    result = cli("bench", "serve", *where, *arguments)
    assert result.code == 2 and result.out == ""
    assert reason in result.err and len(result.err.splitlines()) == 1
    assert [body for _, _, body, _ in server.requests] == []


def test_a_server_over_tls(cli, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                           key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost", "-addext",
                           "subjectAltName=DNS:localhost,IP:127.0.0.1"], capture_output=True)
    if made.returncode != 0:
        pytest.skip("no openssl here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ScriptedServer(tls=context)
    arguments = ["bench", "serve", "--base-url", server.url, "--num-prompts", 8, "--max-concurrency", 2, "--output-json", "-"]
    trusted = cli(*arguments, env={"SSL_CERT_FILE": str(certificate)})
    assert trusted.code == 0, trusted.err
    figures = json.loads(trusted.out)
    assert figures["completed"] == 8 and figures["base_url"] == server.url
    assert server.counts["connections"] <= 4, "connections are kept"
    for more in ({}, {"SSL_CERT_FILE": "/nowhere"}):
        result = cli(*arguments, env=more)
        assert result.code == 1 and "certificate verify failed" in result.err and len(result.err.splitlines()) == 1
    assert cli(*arguments, "--insecure").code == 0
    server.shutdown()


def test_no_server_is_one_line(cli):
    result = cli("bench", "serve", "--port", 1)
    assert result.code == 1
    assert result.err == "error: http://127.0.0.1:1/v1/models: Connection refused\n"


def test_a_refused_warm_up_says_why(cli, server, tmp_path):
    lines = tmp_path / "lines.jsonl"
    lines.write_text(json.dumps({"prompt": "x", "script": {"status": 400}}))
    result = cli("bench", "serve", "--base-url", server.url, "--dataset-path", lines)
    assert result.code == 1 and "400: as the script says" in result.err
