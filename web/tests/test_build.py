"""The committed page: built from these sources, whole in itself."""

import base64
import hashlib
import pathlib
import re
import shutil
import subprocess

import pytest

WEB = pathlib.Path(__file__).resolve().parents[1]
PAGE = (WEB / "dist/index.html").read_text()
SCRIPT = re.compile(r"<script\b[^>]*>(.*?)</script>", re.DOTALL)
STYLE = re.compile(r"<style\b[^>]*>(.*?)</style>", re.DOTALL)


def test_a_rebuild_gives_the_same_bytes(tmp_path):
    if shutil.which("npm") is None:
        pytest.skip("no Node here")
    for name in ["index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.js", ".npmrc"]:
        shutil.copy(WEB / name, tmp_path)
    shutil.copytree(WEB / "src", tmp_path / "src")
    for command in [["npm", "ci"], ["npm", "run", "build"]]:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    for name in ["index.html", "content-security-policy.txt"]:
        assert (tmp_path / "dist" / name).read_bytes() == (WEB / "dist" / name).read_bytes(), f"{name}: run npm run build in web/"


def test_the_policy_names_the_script_and_the_style():
    policy = (WEB / "dist/content-security-policy.txt").read_text()
    rest, scripts = SCRIPT.sub("", PAGE), SCRIPT.findall(PAGE)
    styles = STYLE.findall(rest)
    assert len(scripts) == len(styles) == 1
    for kind, text in [("script", scripts[0]), ("style", styles[0])]:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_the_page_names_no_other_address():
    rest = SCRIPT.sub("", PAGE)
    assert re.findall(r"(?:src|href)=[\"']?(?!#|data:)[^\"'\s>]+", rest) == []
    named = set(re.findall(r"https?://[\w./-]*\w", PAGE))
    namespaces = {f"http://www.w3.org/{path}" for path in ["1999/xhtml", "2000/svg", "1998/Math/MathML"]}
    in_messages = {"https://github.com/highlightjs/highlight.js/wiki/security", "https://github.com/markedjs/marked",
                   "https://github.com/highlightjs/highlight.js/issues/2277"}
    assert named <= namespaces | in_messages


def test_the_lock_file_names_no_place_to_download_from():
    assert '"resolved"' not in (WEB / "package-lock.json").read_text()
