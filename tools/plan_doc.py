#!/usr/bin/env python3
"""plan_doc.py ISOMOE - brings docs/plan.md and docs/img/plan.{svg,png} up to date with the program.

Every block of the page that begins with `$ isomoe ...` is that command and what it prints; a line
`[...]` ends a block that shows only the beginning: as many paragraphs as it has now. --check changes
nothing and exits with 1 where the page is stale. The picture of the terminal needs Chromium; without
it the old one stays.
"""
import html
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

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


STYLES = {"1": "font-weight:bold;color:#fff", "2": "color:#8b949e", "31": "color:#ff7b72",
          "32": "color:#7ee787", "33": "color:#e3b341"}


def terminal_text(isomoe, arguments):
    """What the command writes to a terminal, colours and all."""
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    done = subprocess.run(["script", "-qec", shlex.join([isomoe, *arguments]), "/dev/null"], check=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=environment)
    return done.stdout.replace("\r", "")


def terminal_html(command, text):
    """A page that looks like it."""
    shown = re.sub(r"\x1b\[K", "", f"\x1b[2m$\x1b[0m \x1b[1m{command}\x1b[0m\n{text}").rstrip("\n")
    parts = re.split(r"\x1b\[([0-9;]*)m", shown)
    body = html.escape(parts[0])
    for style, piece in zip(parts[1::2], parts[2::2]):
        body += f'<span style="{STYLES.get(style, "")}">{html.escape(piece)}</span>'
    return (f'<html style="background:#1b1e23"><meta charset="utf-8"><body style="margin:0"><pre style="margin:0;'
            f'padding:22px 26px;color:#d5dbe1;font:15px/1.42 \'DejaVu Sans Mono\',monospace">{body}</pre>')


def draw_terminal(isomoe, picture):
    chromium = shutil.which("chromium")
    if not chromium:
        print("no chromium: the picture of the terminal stays as it is", file=sys.stderr)
        return
    text = terminal_text(isomoe, DRAWN)
    command = " ".join(["isomoe", *(f"'{a}'" if "%" in a else a for a in DRAWN)])
    n_lines = text.count("\n") + 2
    with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as page:
        page.write(terminal_html(command, text))
        page.flush()
        subprocess.run([chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                        f"--window-size=980,{int(n_lines * 21.3) + 22}", "--force-device-scale-factor=1.35",
                        f"--screenshot={picture}", f"file://{page.name}"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


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
    draw_terminal(isomoe, ROOT / "docs/img/plan.png")


if __name__ == "__main__":
    main()
