"""Draws docs/replay.svg: what `cellwarden replay` prints for the demonstration, simulated and replayed now."""

import re
import sys
import tempfile
from pathlib import Path

from cellwarden_tools import cli
from cellwarden_tools.cli import show
from rich.console import Console


def main():
    here = Path(__file__).parent
    console = Console(record=True, width=118, highlight=False, force_terminal=True, file=open("/dev/null", "w"))
    show.console = lambda: console
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "demo.log"
        cli.run(["simulate", "demo", "-o", str(log)])
        console.print("[bold]$ cellwarden replay demo.log -p dbc/demo_pack.toml[/bold]")
        status = cli.run(["replay", str(log), "-p", str(here.parent / "dbc" / "demo_pack.toml")])
    text = console.export_svg(title="cellwarden").replace(f"{folder}/", "")
    text = re.sub(r"@font-face \{.*?\}", "", text, flags=re.DOTALL)  # the reader's own monospaced font will do
    (here / "replay.svg").write_text(text, encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
