#!/usr/bin/env python3
"""Runs clang-tidy over the sources: tools/lint.py BUILD_DIRECTORY JOBS.

A file is looked at again only after it, a header of this project that it reaches, the list of checks or its compile
command has changed: all files take 25 minutes of processor time, an unchanged tree a second. Exit status 1 with the
findings.
"""

import concurrent.futures
import hashlib
import json
import pathlib
import re
import subprocess
import sys

INCLUDE = re.compile(rb'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
TIDY = "clang-tidy-19"


def sources():
    listed = subprocess.run(["git", "ls-files", "src/*.cc", "apps/*.cc"], capture_output=True, text=True, check=True)
    return [pathlib.Path(name) for name in listed.stdout.split()]


def reached(path, texts):
    """The file and every file of this project that it includes, directly or not."""
    seen, todo = set(), [path]
    while todo:
        file = todo.pop()
        if file in seen:
            continue
        seen.add(file)
        if file not in texts:
            texts[file] = file.read_bytes()
        for name in INCLUDE.findall(texts[file]):
            name = name.decode()
            todo += [c for c in (pathlib.Path("src", name), pathlib.Path("include", name), file.parent / name) if c.is_file()]
    return sorted(seen)


def keys(build):
    """Source -> a hash of all that its findings depend on."""
    commands = {entry["file"]: entry["command"] for entry in json.loads((build / "compile_commands.json").read_text())}
    version = subprocess.run([TIDY, "--version"], capture_output=True, check=True).stdout
    common = version + pathlib.Path(".clang-tidy").read_bytes()
    texts, found = {}, {}
    for source in sources():
        digest = hashlib.sha256(common + commands.get(str(source.resolve()), "").encode())
        for file in reached(source, texts):
            digest.update(str(file).encode() + b"\0" + texts[file])
        found[source] = digest.hexdigest()
    return found


def lint(build, source):
    return subprocess.run([TIDY, "-p", build, "--quiet", source], capture_output=True, text=True)


def main():
    build, jobs = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    stamps = build / "lint"
    stamps.mkdir(exist_ok=True)
    stamp_of = lambda source: stamps / str(source).replace("/", "_")
    is_clean = lambda source, key: stamp_of(source).is_file() and stamp_of(source).read_text() == key
    all_keys = keys(build)
    todo = [source for source, key in all_keys.items() if not is_clean(source, key)]
    print(f"clang-tidy: {len(todo)} of {len(all_keys)} files are new or changed", flush=True)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for source, result in zip(todo, pool.map(lambda source: lint(build, source), todo)):
            if result.returncode == 0:
                stamp_of(source).write_text(all_keys[source])
            else:
                failed += 1
                print(f"{source}:\n{result.stdout}{result.stderr}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
