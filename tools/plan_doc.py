#!/usr/bin/env python3
"""plan_doc.py ISOMOE - brings docs/plan.md and docs/img/plan.svg up to date with the program.

Every block of the page that begins with `$ isomoe ...` is that command and what it prints; a line
`[...]` ends a block that shows only the beginning: as many paragraphs as it has now. --check changes
nothing and exits with 1 where the page is stale.
"""
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/plan.md"
DRAWN = ["plan", "--compute", "8xH100@40%x10d", "--data", "200B", "--predict", "--extrapolate"]


def output(isomoe, arguments):
    done = subprocess.run([isomoe, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.rstrip("\n")


def refreshed(match, isomoe):
    """The block with what its command prints now."""
    command, shown = match.group(1), match.group(2)
    text = output(isomoe, shlex.split(command)[1:])
    if shown.endswith("\n[...]"):
        n_paragraphs = shown.count("\n\n") + 1
        text = "\n\n".join(text.split("\n\n")[:n_paragraphs]) + "\n[...]"
    return f"```\n$ {command}\n{text}\n```"


def main():
    arguments = [a for a in sys.argv[1:] if a != "--check"]
    if len(arguments) != 1:
        sys.exit(__doc__)
    isomoe = str(pathlib.Path(arguments[0]).resolve())
    page = PAGE.read_text(encoding="utf-8")
    block = re.compile(r"```\n\$ (isomoe [^\n]*)\n(.*?)\n```", re.S)
    fresh = block.sub(lambda match: refreshed(match, isomoe), page)
    if "--check" in sys.argv:
        sys.exit(0 if fresh == page else f"{PAGE} is stale: run tools/plan_doc.py")
    PAGE.write_text(fresh, encoding="utf-8")
    output(isomoe, [*DRAWN, "--plot", str(ROOT / "docs/img/plan.svg")])


if __name__ == "__main__":
    main()
