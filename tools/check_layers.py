#!/usr/bin/env python3
"""Holds every #include against the table of floors: includes point down only, and files form no circle.

Exit status 1 with one line per fault. The table is the one of docs/architecture.md.
"""

import pathlib
import re
import sys

# floor -> floors it may include, besides itself
ALLOWED = {
    "base": [],
    "tensor": ["base"],
    "ops": ["tensor", "base"],
    "comm": ["tensor", "base"],
    "weights": ["tensor", "base"],
    "quant": ["ops", "tensor", "base"],
    "autograd": ["ops", "tensor", "base"],
    "nn": ["ops", "comm", "weights", "tensor", "base"],
    "models": ["nn", "ops", "comm", "weights", "tensor", "base"],
    "kvcache": ["base"],
    "text": ["base"],
    "engine": ["models", "kvcache", "nn", "ops", "comm", "weights", "tensor", "base"],
    "llm": ["engine", "text", "models", "kvcache", "nn", "ops", "comm", "weights", "tensor", "base"],
    "serve": ["llm", "engine", "text", "models", "tensor", "base"],
    "apps": ["serve", "llm", "engine", "text", "models", "kvcache", "nn", "ops", "comm", "weights", "quant",
             "autograd", "tensor", "base"],
}
PUBLIC = {"error": "base", "tensor": "tensor", "context": "tensor", "sampling_params": "engine", "structured_output": "engine", "llm": "llm"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def floor_of(path):
    """The floor of a repository path, or None for a file outside the house."""
    parts = path.parts
    if parts[0] == "apps":
        return "apps"
    if parts[0] == "src" and len(parts) > 2:
        return parts[1]
    if parts[:2] == ("include", "miniinfer"):
        return "ops" if len(parts) > 3 else PUBLIC.get(path.stem)
    return None


def resolve(root, source, name):
    """The repository path that an include names, or None when it is generated or third-party."""
    for candidate in (root / "src" / name, root / "include" / name, root / source.parent / name):
        if candidate.is_file():
            return candidate.resolve().relative_to(root)
    return None


def find_circle(graph):
    """One circle of files as a list, or None."""
    state = {}
    for start in graph:
        if start in state:
            continue
        stack = [(start, iter(graph[start]))]
        state[start] = "open"
        while stack:
            node, targets = stack[-1]
            target = next(targets, None)
            if target is None:
                state[node] = "done"
                stack.pop()
            elif state.get(target) == "open":
                names = [n for n, _ in stack]
                return names[names.index(target):] + [target]
            elif target not in state:
                state[target] = "open"
                stack.append((target, iter(graph.get(target, ()))))
    return None


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    faults, graph = [], {}
    files = [p for d in ("src", "include", "apps") for p in (root / d).rglob("*")
             if p.suffix in (".h", ".cc", ".cu", ".cuh")]
    for path in sorted(files):
        source = path.relative_to(root)
        floor = floor_of(source)
        if floor not in ALLOWED:
            faults.append(f"{source}: stands on no known floor")
            continue
        graph[source] = []
        for name in INCLUDE.findall(path.read_text()):
            target = resolve(root, source, name)
            if target is None or target == source:  # Highway's foreach_target re-includes its own file
                continue
            graph[source].append(target)
            below = floor_of(target)
            if below != floor and below not in ALLOWED[floor]:
                faults.append(f"{source}: {floor} may not include {target} ({below})")
            if floor in ("base", "tensor", "ops", "nn", "models", "kvcache", "text", "engine", "llm") and \
                    target.parts[0] == "tests":
                faults.append(f"{source}: includes a test")
    circle = find_circle(graph)
    if circle:
        faults.append("circle: " + " -> ".join(map(str, circle)))
    for fault in faults:
        print(f"check_layers: {fault}")
    if not faults:
        print(f"check_layers: {len(graph)} files, no upward include, no circle")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
