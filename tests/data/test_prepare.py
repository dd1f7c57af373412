import gzip
import http.server
import importlib.util
import io
import os
import tarfile
import threading

import numpy as np
import pytest
from tensorflow_datasets.image_classification import cifar, mnist

from aigc_jax.data import tensorflow_free
from aigc_jax.data.prepare import list_data, prepare
from aigc_jax.data.sources import open_data
from aigc_jax.types import UsageError

needs_no_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed and would be used"
)


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Files on a web server of our own."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()

        def serve(files):
            for name, content in files.items():
                (folder / name).write_bytes(content)
            return f"http://127.0.0.1:{server.server_port}/"

        yield serve
        server.shutdown()


@needs_no_tensorflow
def test_prepare_mnist_without_tensorflow(serve, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (8, 28, 28, 1), np.uint8), rng.integers(0, 10, 8, np.uint8)
    files = {}
    for name, part in {"train": slice(0, 5), "t10k": slice(5, 8)}.items():
        files[f"{name}-images-idx3-ubyte.gz"] = gzip.compress(bytes(16) + images[part].tobytes())
        files[f"{name}-labels-idx1-ubyte.gz"] = gzip.compress(bytes(8) + labels[part].tobytes())
    monkeypatch.setattr(mnist.MNIST, "URL", serve(files))
    monkeypatch.setattr(mnist.MNIST, "url_infos", {})
    monkeypatch.setattr(mnist, "_TRAIN_EXAMPLES", 5)
    monkeypatch.setattr(mnist, "_TEST_EXAMPLES", 3)

    root = tmp_path / "data"
    assert str(root / "mnist" / "3.0.1") in prepare("tfds:mnist", str(root))
    assert os.listdir(root) == ["mnist"]
    data = open_data("tfds:mnist", data_dir=str(root))
    found = [example for part in (data.train, data.held_out) for example in map(part.__getitem__, range(len(part)))]
    assert {(e["image"].tobytes(), int(e["label"])) for e in found} == {
        (image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)
    }


@needs_no_tensorflow
def test_prepare_cifar10_without_tensorflow(serve, tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8)
    names = ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"]
    contents = {"batches.meta.txt": "\n".join(f"class {number}" for number in range(10)).encode()}
    for number, name in enumerate([*names, "test_batch.bin"]):
        contents[name] = b"".join(
            bytes([k % 10]) + images[k].transpose(2, 0, 1).tobytes() for k in (2 * number, 2 * number + 1)
        )
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, content in contents.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    url = serve({"cifar.tar.gz": archive.getvalue()}) + "cifar.tar.gz"
    original = cifar.Cifar10._cifar_info.fget
    monkeypatch.setattr(cifar.Cifar10, "_cifar_info", property(lambda self: original(self)._replace(url=url)))
    monkeypatch.setattr(cifar.Cifar10, "url_infos", {})

    prepare("tfds:cifar10", str(tmp_path / "data"))
    data = open_data("tfds:cifar10", data_dir=str(tmp_path / "data"), image_shape=(32, 32, 3))
    assert list(data.class_names) == [f"class {number}" for number in range(10)]
    held_out = {data.held_out[i]["image"].tobytes(): int(data.held_out[i]["label"]) for i in range(2)}
    assert held_out == {images[10].tobytes(): 0, images[11].tobytes(): 1}
    assert len(data.train) == 10


@pytest.fixture
def offline(monkeypatch):
    """No host answers, and whoever tries to reach one is counted."""
    calls = []

    def connect(address, timeout=None, *rest):
        calls.append((address, timeout))
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr("socket.create_connection", connect)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return calls


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def test_prepare_offline_is_one_line_and_leaves_nothing(offline, tmp_path, capfd):
    with pytest.raises(UsageError) as error:
        prepare("tfds:mnist", str(tmp_path / "data"))
    assert "tfds:mnist" in one_line(error)
    assert "storage.googleapis.com" in one_line(error)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    # One attempt per host, and a bounded one: tfds by itself makes ten.
    assert offline == [(("storage.googleapis.com", 443), tensorflow_free.TIMEOUT)]


def test_check_reachable_does_not_wait_for_a_name_server(monkeypatch):
    forever = threading.Event()

    def connect(*args):
        forever.wait()
        raise OSError

    monkeypatch.setattr("socket.create_connection", connect)
    monkeypatch.setattr(tensorflow_free, "TIMEOUT", 0.05)
    with pytest.raises(UsageError, match="no answer"):
        tensorflow_free.check_reachable("https://example.org/file")
    forever.set()


def test_check_reachable_uses_the_proxy(offline, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://proxy.example.org:3128")
    with pytest.raises(UsageError, match=r"proxy\.example\.org"):
        tensorflow_free.check_reachable("https://example.org/file")
    assert offline[0][0] == ("proxy.example.org", 3128)


def test_check_any_reachable_needs_one_host(serve):
    tensorflow_free.check_any_reachable(["http://127.0.0.1:9/closed", serve({})])
    tensorflow_free.check_any_reachable(["http://127.0.0.1:9/closed", serve({}).replace("127.0.0.1", "localhost")])
    with pytest.raises(UsageError):
        tensorflow_free.check_any_reachable(["http://127.0.0.1:9/closed"])


@pytest.mark.parametrize("files", [{}, {"t10k-labels-idx1-ubyte.gz": b"no gzip"}], ids=["missing", "corrupt"])
def test_prepare_leaves_nothing_of_a_failed_download(serve, tmp_path, monkeypatch, files):
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    complete = {f"{name}-ubyte.gz": gzip.compress(bytes(16)) for name in names}
    monkeypatch.setattr(mnist.MNIST, "URL", serve({**complete, **files} if files else {}))
    monkeypatch.setattr(mnist.MNIST, "url_infos", {})
    root = tmp_path / "data"
    root.mkdir()
    with pytest.raises(UsageError) as error:
        prepare("tfds:mnist", str(root))
    assert "tfds:mnist" in one_line(error)
    assert list(root.iterdir()) == []


def test_prepare_ends_other_downloads_with_a_failed_one(serve):
    from tensorflow_datasets.core.download import downloader

    url = serve({"big": bytes(10**6)}) + "big"
    with tensorflow_free.tensorflow_free():
        download = downloader._open_url(url)
        _, blocks = download.__enter__()
        assert next(blocks)
    assert list(blocks) == []
    download.__exit__(None, None, None)


def test_prepare_keeps_a_prepared_data_set(tfds_dir, offline):
    for name in ("tfds:tiny_pictures/plain", "tfds:tiny_pictures/plain/1.2.0", "tfds:tiny_pictures/plain:1.2.0"):
        assert "already" in prepare(name, str(tfds_dir))
    assert not offline


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("tfds:mnst", "tfds:mnist"),
        ("tfds:emnist/leters", "tfds:emnist/letters"),
        ("tfds:no-such-thing-at-all", "spelling"),
        ("tfds:mnist/2.0.0", "3.0.1"),
        ("tfds:", "tfds:mnist"),
        ("digits", "tfds:NAME"),
    ],
)
def test_prepare_suggests_names_for_mistyped_ones(offline, tmp_path, name, advice):
    with pytest.raises(UsageError) as error:
        prepare(name, str(tmp_path))
    assert advice in one_line(error)
    assert list(tmp_path.iterdir()) == []


def test_prepare_names_an_unwritable_folder(offline, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--data-dir"):
        prepare("tfds:mnist", str(tmp_path / "file" / "data"))


@needs_no_tensorflow
def test_tensorflow_free_restores_tfds(tfds_dir):
    from tensorflow_datasets.core.download import downloader
    from tensorflow_datasets.core.utils import lazy_imports_utils

    before = downloader._open_url
    with tensorflow_free.tensorflow_free():
        assert downloader._open_url is not before
        with pytest.raises(UsageError, match="TensorFlow"):
            _ = lazy_imports_utils.tensorflow.data
    assert downloader._open_url is before
    with pytest.raises(ImportError):
        _ = lazy_imports_utils.tensorflow.io


def test_list_data_names_prepared_data_and_commands_for_others(tfds_dir):
    rows = {row.name: row for row in list_data(str(tfds_dir))}
    assert rows["digits"].examples == "train 4000, held out 1000"
    plain = rows["tfds:tiny_pictures/plain"]
    assert plain[1:] == (
        "2",
        "6 x 4 x 3",
        "train 30, validation 5, test 10",
        str(tfds_dir / "tiny_pictures" / "plain" / "1.2.0"),
    )
    assert rows["tfds:tiny_pictures/unlabelled"].classes == "none"
    assert rows["tfds:mnist"].where == f"aigc-jax data prepare tfds:mnist --data-dir {tfds_dir}"
    assert "folder:DIR" in rows


def test_list_data_takes_damaged_data_sets(tmp_path):
    folder = tmp_path / "broken" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{")
    rows = {row.name: row for row in list_data(str(tmp_path))}
    assert str(folder) in rows["tfds:broken"].where
