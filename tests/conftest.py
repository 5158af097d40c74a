"""What all tests that run the program share."""

import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def miniinfer():
    """The program under test; MINIINFER_BINARY names another than the release build's."""
    return pathlib.Path(os.environ.get("MINIINFER_BINARY", ROOT / "build/apps/miniinfer/miniinfer")).resolve()
