import pytest
from running_server import RunningServer


@pytest.fixture
def start(miniinfer):
    """Starts servers that end with the test."""
    servers = []

    def run(*flags, **options):
        servers.append(RunningServer(miniinfer, *flags, **options))
        return servers[-1]

    yield run
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def server(miniinfer):
    """One server for the tests that leave it as it was; it must outlive them all in health."""
    server = RunningServer(miniinfer)
    yield server
    assert server.process.poll() is None, server.lines()[-5:]
    assert server.get("/health").status == 200
    assert server.chat(temperature=0).json["choices"][0]["message"]["content"] == "The capital of France is Paris."
    server.signal()
    assert server.wait() == 0
    server.stop()
