"""Train the modern recipe on MNIST and draw README's pictures into docs/pictures/.

    MINIBNN_DATA=... python tools/draw_pictures.py

No test runs it: it trains on MNIST, and needs Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from minibnn import (
    DataLoader,
    Layer,
    confusion_matrix,
    export_html,
    load_mnist,
    pack,
    plot_confusion,
    plot_weight_bits,
)
from minibnn.recipes import modern

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Train, and draw the pictures."""
    parser = argparse.ArgumentParser(
        description="Train the modern recipe, and draw README's pictures."
    )
    parser.add_argument("--epochs", type=int, default=10, metavar="N",
                        help="epochs of training; default: %(default)s")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures", metavar="DIR",
                        help="default: docs/pictures")  # fmt: skip
    args = parser.parse_args()

    data = load_mnist()
    model, history = modern().train(data, seed=args.seed, epochs=args.epochs)
    test = DataLoader((data.test_images, data.test_labels), 1000)
    print(history.round(3).to_string())
    args.out.mkdir(parents=True, exist_ok=True)
    plot_confusion(
        confusion_matrix(model, test), args.out / "confusion.png", title="modern recipe, MNIST test"
    )
    plot_weight_bits(model, args.out / "weight_bits.png")
    draw_page(model, args.out / "page.png")
    for path in sorted(args.out.glob("*.png")):
        print(f"{path}: {path.stat().st_size / 1024:.0f} KiB", file=sys.stderr)


def draw_page(model: Layer, path: Path) -> None:
    """Draw the web page as Chromium opens it; skip it without Chromium."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print(f"{path}: not drawn, Chromium is not installed", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        export_html(pack(model), page)
        command = [chromium, "--headless=new", "--hide-scrollbars", "--window-size=1280,900"]
        command += ["--no-sandbox", f"--screenshot={path.resolve()}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=60)


if __name__ == "__main__":
    main()
