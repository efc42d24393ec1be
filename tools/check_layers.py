#!/usr/bin/env python3
"""The rules of the tree that a compiler doesn't check; exit code 1 and one line for each breach.

- A folder of src/ includes only itself and folders above it in LAYERS; cli/ comes last; tests, fuzz
  targets and benches may include anything, and nothing includes them.
- File names are unique in the tree, so that one name means one file.
- No file over 800 lines, no function over 80.
"""
import os
import pathlib
import re
import subprocess
import sys

LAYERS = ["base", "arch", "paper", "tensor", "ops", "comm", "data", "model", "safetensors", "train",
          "interop", "runs", "study", "report", "api"]
MAX_FILE_LINES = 800
MAX_FUNCTION_LINES = 80
ROOTS = ("include", "src", "cli", "tests", "fuzz", "bench")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def rank(path):
    """Where a file stands: the public header first, src/ by LAYERS, cli/ after it, the rest last."""
    top = path.parts[0]
    if top == "include":
        return -1
    if top == "src":
        return LAYERS.index(path.parts[1]) if path.parts[1] in LAYERS else None
    return len(LAYERS) + (0 if top == "cli" else 1)


def resolve(path, name, known):
    """The file that #include "name" in `path` means, or None if it is none of ours."""
    for folder in (path.parent, "src", "include", "cli"):
        candidate = pathlib.Path(os.path.normpath(folder / pathlib.Path(name)))
        if candidate in known:
            return candidate
    if path.parts[0] == "tests":  # they lend each other helpers; names are unique
        return next((f for f in known if f.parts[0] == "tests" and f.name == name), None)
    return None


def check_includes(path, lines, known):
    own = rank(path)
    if own is None:
        yield f"{path}: src/{path.parts[1]} has no place in LAYERS of tools/check_layers.py"
        return
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        target = resolve(path, match.group(1), known)
        if target is None:
            yield f'{path}:{number}: "{match.group(1)}" is no file of this tree; use <> for others'
        elif rank(target) is not None and rank(target) > own:
            yield f"{path}:{number}: includes {target}, which is below it in the tree's order"


def check_lengths(path, lines):
    if len(lines) > MAX_FILE_LINES:
        yield f"{path}: {len(lines)} lines, more than {MAX_FILE_LINES}: split it"
    # clang-format puts a function's end, and nothing else's but a type's or table's, in column 0.
    start = None
    for number, line in enumerate(lines, 1):
        if re.match(r"^[A-Za-z_].*\) ?\{$|^ +.*\) \{$", line) and start is None:
            start = number
        elif line.startswith("}"):
            if start is not None and number - start + 1 > MAX_FUNCTION_LINES:
                yield (f"{path}:{start}: a function of {number - start + 1} lines, more than "
                       f"{MAX_FUNCTION_LINES}: split it")
            start = None


def main():
    listing = ["git", "ls-files", "-z", "-co", "--exclude-standard", "--", *ROOTS]
    names = subprocess.run(listing, check=True, stdout=subprocess.PIPE, text=True).stdout.split("\0")
    files = [pathlib.Path(n) for n in names if n.endswith((".c", ".h", ".cc", ".py", ".sh"))]
    files = [f for f in files if f.exists()]
    known = set(files)
    breaches = []
    first_of = {}
    for path in files:
        other = first_of.setdefault(path.name, path)
        if other != path:
            breaches.append(f"{path}: has the same name as {other}")
        lines = path.read_text(encoding="utf-8").split("\n")
        breaches.extend(check_lengths(path, lines))
        if path.suffix in (".c", ".h", ".cc"):
            breaches.extend(check_includes(path, lines, known))
    for breach in breaches:
        print(breach)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
