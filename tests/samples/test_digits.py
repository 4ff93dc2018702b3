"""The samples' digits: the bundled split, the IDX reader and what it says of bad files."""

from __future__ import annotations

import gzip
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SAMPLES = Path(__file__).parents[2] / "samples"


def _import_digits() -> ModuleType:
    spec = importlib.util.spec_from_file_location("digits", SAMPLES / "digits.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


digits = _import_digits()


def _idx(array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def _write_mnist(folder: Path, *, zipped: bool) -> None:
    for part, n in (("train", 7), ("t10k", 3)):
        images = np.arange(n * 784).reshape(n, 28, 28) % 256
        for name, array in (
            (f"{part}-images-idx3-ubyte", images),
            (f"{part}-labels-idx1-ubyte", np.arange(n)),
        ):
            data = _idx(array)
            path = folder / (f"{name}.gz" if zipped else name)
            path.write_bytes(gzip.compress(data) if zipped else data)


def _raises(error: type[Exception], text: str) -> pytest.RaisesExc:
    return pytest.raises(error, match=f"^{re.escape(text)}$")


def test_bundled_digits_are_4000_and_1000_balanced() -> None:
    data = digits.load()
    assert np.bincount(data.train_labels).tolist() == [400] * 10
    assert np.bincount(data.test_labels).tolist() == [100] * 10


def test_bundled_digits_have_the_promised_types() -> None:
    data = digits.load()
    assert data.train_images.shape == (4000, 1, 28, 28)
    assert data.test_images.shape == (1000, 1, 28, 28)
    for images in (data.train_images, data.test_images):
        assert images.dtype == np.float32
        assert (images.min(), images.max()) == (0.0, 1.0)
    assert data.train_labels.dtype == data.test_labels.dtype == np.int64


def test_bundled_digits_are_distinct() -> None:
    data = digits.load()
    images = [*data.train_images, *data.test_images]
    assert len({image.tobytes() for image in images}) == 5000


def test_bundled_digits_are_shuffled() -> None:
    assert len(set(digits.load().train_labels[:100].tolist())) == 10


def test_bundled_file_is_at_most_1200_kilobytes() -> None:
    assert digits.BUNDLED.stat().st_size <= 1_200_000


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gz"])
def test_idx_files_are_read(tmp_path: Path, zipped: bool) -> None:
    _write_mnist(tmp_path, zipped=zipped)
    data = digits.load(str(tmp_path))
    assert data.train_images.shape == (7, 1, 28, 28)
    assert data.test_images.shape == (3, 1, 28, 28)
    assert data.train_labels.tolist() == list(range(7))
    expected = np.arange(784).reshape(28, 28) % 256
    np.testing.assert_array_equal(np.rint(data.test_images[0, 0] * 255), expected)


def test_missing_idx_files_are_listed(tmp_path: Path) -> None:
    _write_mnist(tmp_path, zipped=False)
    for name in ("train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"):
        (tmp_path / name).unlink()
    text = (
        f"{tmp_path} lacks"
        "\n  train-labels-idx1-ubyte or train-labels-idx1-ubyte.gz"
        "\n  t10k-images-idx3-ubyte or t10k-images-idx3-ubyte.gz"
    )
    with _raises(FileNotFoundError, text):
        digits.load(tmp_path)


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere is no folder; it should hold"):
        digits.load(tmp_path / "nowhere")


def _damaged(folder: Path, name: str, data: bytes) -> Path:
    _write_mnist(folder, zipped=False)
    (folder / name).write_bytes(data)
    return folder / name


def test_bad_magic_is_said_with_numbers(tmp_path: Path) -> None:
    path = _damaged(tmp_path, "train-images-idx3-ubyte", _idx(np.arange(20)))
    text = (
        f"{path}: its magic number is 0x00000801, an IDX file of bytes with 3 axes has 0x00000803"
    )
    with _raises(ValueError, text):
        digits.load(tmp_path)


def test_truncation_is_said_with_numbers(tmp_path: Path) -> None:
    data = _idx(np.zeros((3, 28, 28)))[:-5]
    path = _damaged(tmp_path, "t10k-images-idx3-ubyte", data)
    text = f"{path}: truncated, its header announces 3 x 28 x 28 = 2352 bytes, 2347 follow"
    with _raises(ValueError, text):
        digits.load(tmp_path)


def test_a_cut_header_is_said_with_numbers(tmp_path: Path) -> None:
    path = _damaged(tmp_path, "t10k-labels-idx1-ubyte", b"\0\0\x08\x01\0")
    with _raises(ValueError, f"{path}: truncated, 5 bytes are less than its header of 8"):
        digits.load(tmp_path)


def test_trailing_bytes_are_said_with_numbers(tmp_path: Path) -> None:
    path = _damaged(tmp_path, "t10k-labels-idx1-ubyte", _idx(np.arange(3)) + b"??")
    with _raises(ValueError, f"{path}: too long, its header announces 3 = 3 bytes, 5 follow"):
        digits.load(tmp_path)


def test_a_cut_gzip_file_is_said(tmp_path: Path) -> None:
    _write_mnist(tmp_path, zipped=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(
        ValueError, match=r"train-images-idx3-ubyte\.gz: not a whole gzip file of 40"
    ):
        digits.load(tmp_path)


def test_other_image_sizes_are_refused(tmp_path: Path) -> None:
    path = _damaged(tmp_path, "t10k-images-idx3-ubyte", _idx(np.zeros((3, 8, 9))))
    with _raises(ValueError, f"{path}: its images are 8 x 9, not 28 x 28"):
        digits.load(tmp_path)


def test_unequal_counts_are_refused(tmp_path: Path) -> None:
    path = _damaged(tmp_path, "t10k-labels-idx1-ubyte", _idx(np.arange(4)))
    images = tmp_path / "t10k-images-idx3-ubyte"
    with _raises(ValueError, f"{images} holds 3 images, {path} 4 labels"):
        digits.load(tmp_path)


def test_a_label_above_9_is_refused(tmp_path: Path) -> None:
    path = _damaged(tmp_path, "t10k-labels-idx1-ubyte", _idx(np.array([1, 2, 10])))
    with _raises(ValueError, f"{path}: holds the label 10, the greatest digit is 9"):
        digits.load(tmp_path)


def test_confusion_rows_are_actual_and_columns_predicted() -> None:
    matrix = digits.confusion_matrix([0, 0, 1, 2], [0, 1, 1, 0], classes=3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_confusion_of_nothing_is_zero() -> None:
    assert digits.confusion_matrix([], []).tolist() == [[0] * 10] * 10


def test_confusion_refuses_unequal_lengths() -> None:
    text = "confusion_matrix: needs two equally long vectors, got shapes (2,) and (3,)"
    with _raises(ValueError, text):
        digits.confusion_matrix([1, 2], [1, 2, 3])


def test_confusion_refuses_labels_outside_the_classes() -> None:
    text = "confusion_matrix: predicted labels run from 0 to 3, 3 classes allow 0 to 2"
    with _raises(ValueError, text):
        digits.confusion_matrix([0, 1], [0, 3], classes=3)


def test_confusion_refuses_floats() -> None:
    with _raises(ValueError, "confusion_matrix: actual labels are float64, not integers"):
        digits.confusion_matrix([0.5, 1.0], [0, 1])


def test_print_confusion_shows_recalls(capsys: pytest.CaptureFixture[str]) -> None:
    digits.print_confusion([[3, 1], [0, 2]])
    text = capsys.readouterr().out
    assert "rows: actual, columns: predicted" in text
    assert "75.0%" in text and "100.0%" in text


def test_print_confusion_needs_no_rich(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    digits.print_confusion([[3, 1], [0, 2]])
    assert capsys.readouterr().out == (
        "rows: actual, columns: predicted\n"
        "     0   1   right\n"
        " 0   3   1   75.0%\n"
        " 1   .   2  100.0%\n"
    )
