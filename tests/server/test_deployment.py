"""The files of docs/serving against the programs that they are for: nginx, systemd, Prometheus. What is not installed is skipped."""

import http.client
import json
import re
import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from running_server import HOST, free_port

NAME, KEY = "models.example.com", "the-key"
HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}", "Host": NAME}


def program(name):
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"no {name} here")
    return path


@pytest.fixture
def site(start, root, tmp_path):
    """The site of docs/serving as it stands but for ports and paths, in front of a server; its port."""
    nginx = program("nginx")
    subprocess.run([program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "site.key", "-out",
                    tmp_path / "site.pem", "-days", "2", "-subj", f"/CN={NAME}"], capture_output=True, check=True)
    server = start("--api-key", KEY, "--allowed-hosts", NAME)
    port = free_port()
    text = (root / "docs/serving/nginx.conf").read_text()
    for old, new in (("listen 443 ssl", f"listen {HOST}:{port} ssl"), (f"/etc/ssl/{NAME}", f"{tmp_path}/site"),
                     ("server 127.0.0.1:8000", f"server 127.0.0.1:{server.port}")):
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "site.conf").write_text(text)
    paths = "".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (tmp_path / "nginx.conf").write_text(f"daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;"
                                         f"events {{}} http {{ access_log off; {paths} include {tmp_path}/site.conf; }}")
    process = subprocess.Popen([nginx, "-c", tmp_path / "nginx.conf", "-e", tmp_path / "error.log"])
    try:
        wait_for_port(port, process)
        yield server, port
    finally:
        process.terminate()
        process.wait()


def wait_for_port(port, process):
    for _ in range(500):
        assert process.poll() is None
        try:
            http.client.HTTPConnection(HOST, port, timeout=1).connect()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError("it does not listen")


def post(port, body):
    connection = http.client.HTTPSConnection(HOST, port, context=ssl._create_unverified_context(), timeout=20)
    connection.request("POST", "/v1/completions", body if isinstance(body, str) else json.dumps(body), HEADERS)
    return connection, connection.getresponse()


def test_behind_nginx(site):
    server, port = site
    connection, reply = post(port, {"prompt": "a", "max_tokens": 4, "ignore_eos": True})
    assert reply.status == 200 and json.loads(reply.read())["usage"]["completion_tokens"] == 4
    # Tokens come as they are made.
    connection, reply = post(port, {"prompt": "a", "max_tokens": 1500, "ignore_eos": True, "stream": True})
    begin, pieces = time.monotonic(), []
    while piece := reply.read1(65536):
        pieces.append((time.monotonic() - begin, piece))
    assert b"".join(piece for _, piece in pieces).endswith(b"data: [DONE]\n\n")
    assert len(pieces) > 20 and pieces[0][0] < 0.5 * pieces[-1][0]
    # A client that goes away ends its request.
    connection, reply = post(port, {"prompt": "a", "max_tokens": 1900, "ignore_eos": True, "n": 16, "stream": True})
    reply.read1(100)
    reply.close()
    connection.close()
    server.wait_for(lambda metrics: metrics["vllm:num_requests_running"] == 0, 3, headers={"Authorization": f"Bearer {KEY}"})
    assert post(port, "{" + " " * (8 << 20) + "}")[1].status == 413
    for path in ("/metrics", "/health", "/load", "/ping"):
        connection.request("GET", path, headers=HEADERS)
        reply = connection.getresponse()
        assert reply.status == 404 and reply.read()


def test_the_unit_of_systemd(root, tmp_path, miniinfer):
    analyze = program("systemd-analyze")
    text = (root / "docs/serving/miniinfer.service").read_text()
    (tmp_path / "miniinfer.service").write_text(text.replace("/usr/local/bin/miniinfer", str(miniinfer)))
    done = subprocess.run([analyze, "verify", tmp_path / "miniinfer.service"], capture_output=True, text=True)
    assert done.returncode == 0 and "miniinfer.service" not in done.stderr, done.stderr


@pytest.fixture
def prometheus(start, root, tmp_path):
    """A Prometheus with the configuration of docs/serving but for key, target and period."""
    binary = program("prometheus")
    server = start("--api-key", KEY)
    (tmp_path / "key").write_text(KEY)
    text = (root / "docs/serving/prometheus.yml").read_text()
    for old, new in (("/etc/prometheus/miniinfer.key", str(tmp_path / "key")), ("127.0.0.1:8000", f"127.0.0.1:{server.port}"),
                     ("5s", "500ms")):
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "prometheus.yml").write_text(text)
    subprocess.run([program("promtool"), "check", "config", tmp_path / "prometheus.yml"], check=True, capture_output=True)
    port = free_port()
    process = subprocess.Popen([binary, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
                                f"--web.listen-address={HOST}:{port}"], stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, process)
        wait_until_ready(f"http://{HOST}:{port}/-/ready")
        yield server, f"http://{HOST}:{port}/api/v1/"
    finally:
        process.terminate()
        process.wait()


def wait_until_ready(url):
    """Prometheus answers 503 until it has opened its storage."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return urllib.request.urlopen(url, timeout=10).close()
        except urllib.error.HTTPError as error:
            assert error.code == 503 and time.monotonic() < deadline, error
        time.sleep(0.1)


def ask(url, path, **parameters):
    with urllib.request.urlopen(url + path + "?" + urllib.parse.urlencode(parameters), timeout=10) as reply:
        return json.load(reply)["data"]


def test_every_query_of_the_dashboard_finds_figures(prometheus, root):
    server, url = prometheus
    dashboard = json.loads((root / "docs/serving/grafana-dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    variables = {"$model": "tiny-assistant", "$instance": ".*", "$__rate_interval": "10s"}
    assert len(queries) > 15
    deadline = time.monotonic() + 30
    while True:
        server.chat("What is the capital of France?", headers={"Authorization": f"Bearer {KEY}"})
        found = {}
        for query in queries:
            for name, value in variables.items():
                query = query.replace(name, value)
            assert "$" not in query
            found[query] = [sample["value"][1] for sample in ask(url, "query", query=query)["result"]]
        empty = [query for query, values in found.items() if not values or "NaN" in values]
        if not empty:
            break
        assert time.monotonic() < deadline, empty
        time.sleep(0.5)
    # The variables' own queries name labels that are there.
    for variable in dashboard["templating"]["list"][1:]:
        metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
        series = ask(url, "series", **{"match[]": metric.replace("$model", "tiny-assistant")})
        assert series and all(one[label] for one in series)


def test_the_exposition_is_as_prometheus_wants_it(server):
    server.chat()
    done = subprocess.run([program("promtool"), "check", "metrics"], input=server.get("/metrics").body, capture_output=True)
    # Its opinions on names are not shared: dashboards know these.
    complaints = [line for line in done.stderr.decode().splitlines() if line and not re.search(
        r"counter metrics should have \"_total\" suffix|non-counter metrics should not have|metric names should not contain ':'", line)]
    assert complaints == [], complaints
