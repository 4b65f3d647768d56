"""Train the modern recipe on MNIST and draw README's pictures into docs/pictures/.

MINIBNN_DATA=... python tools/draw_pictures.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "examples"))

import mnist  # noqa: E402 (the examples are scripts, not a package)

from minibnn import (  # noqa: E402
    Adam,
    Cosine,
    DataLoader,
    LogitCrossEntropy,
    confusion_matrix,
    fit,
    load_mnist,
    plot_confusion,
    plot_weight_bits,
)


def main() -> None:
    """Train, and write the pictures."""
    parser = argparse.ArgumentParser(description="Draw README's pictures.")
    parser.add_argument("--epochs", type=int, default=10, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures", metavar="DIR")
    args = parser.parse_args()

    recipe = mnist.RECIPES["modern"]
    rng = np.random.default_rng(args.seed)
    data = load_mnist()
    model = mnist.build_model("modern").initialize(rng)
    train = DataLoader(
        (data.train_images, data.train_labels),
        recipe.batch_size,
        shuffle=True,
        drop_last=True,
        rng=rng,
    )
    test = DataLoader((data.test_images, data.test_labels), recipe.batch_size)
    schedule = Cosine(recipe.lr, 0.0, length=args.epochs * len(train))
    history = fit(
        model,
        train,
        test,
        loss=LogitCrossEntropy(),
        optimizer=Adam(model.parameters(), schedule),
        epochs=args.epochs,
    )
    print(history.round(3).to_string())
    args.out.mkdir(parents=True, exist_ok=True)
    plot_confusion(
        confusion_matrix(model, test), args.out / "confusion.png", title="modern recipe, MNIST test"
    )
    plot_weight_bits(model, args.out / "weight_bits.png")
    for path in sorted(args.out.glob("*.png")):
        print(f"{path}: {path.stat().st_size / 1024:.0f} KiB", file=sys.stderr)


if __name__ == "__main__":
    main()
