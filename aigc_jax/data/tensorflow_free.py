"""Preparation of data sets by tensorflow-datasets where TensorFlow is not installed.

The library reads and writes ``array_record`` by itself, but a few steps of a preparation call TensorFlow: opening files
(``tf.io.gfile``), names in archives (``tf.compat.as_text``), and encoding arrays as PNG or JPEG (``tf.image``). All of
them go through one lazily imported module object; for the time of a preparation it gets a stand-in made of the standard
library and Pillow. The downloader also first checks whether a host answers: by itself it tries again for minutes. These
are private names of tfds, ``downloader._open_url`` and the ``_module`` of a lazy module: ``pyproject.toml`` bounds its
version for them.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import glob
import importlib.util
import io
import itertools
import os
import shutil
import socket
import threading
import types
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from aigc_jax.types import UsageError

TIMEOUT = 3.0
"""Seconds to wait for a download host to answer at all."""

_PORTS = {"http": 80, "https": 443, "ftp": 21}


@contextlib.contextmanager
def tensorflow_free() -> Iterator[None]:
    """Context in which ``tfds`` needs no TensorFlow (used where installed) and fails at once without a network."""
    from absl import logging
    from tensorflow_datasets.core.download import downloader
    from tensorflow_datasets.core.utils import lazy_imports_utils

    open_url, verbosity = downloader._open_url, logging.get_verbosity()
    lazy_module: dict[str, Any] = lazy_imports_utils.tensorflow.__dict__

    has_ended = threading.Event()

    @contextlib.contextmanager
    def open_reachable_url(url: str, **kwargs: Any) -> Iterator[tuple[Any, Iterator[bytes]]]:
        check_reachable(url)
        with open_url(url, **kwargs) as (response, blocks):
            # One failed download ends the preparation, but not by itself the other downloads.
            yield response, itertools.takewhile(lambda _: not has_ended.is_set(), blocks)

    try:
        downloader._open_url = open_reachable_url
        logging.set_verbosity(logging.ERROR)
        if importlib.util.find_spec("tensorflow") is None:
            # Where the lazy module looks first for what it stands for.
            lazy_module["_module"] = _stand_in()
        # tfds announces itself on standard output; its progress bars are on standard error.
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        has_ended.set()
        downloader._open_url = open_url
        logging.set_verbosity(verbosity)
        if isinstance(lazy_module.get("_module"), _Namespace):
            del lazy_module["_module"]


def check_reachable(url: str) -> None:
    """Raise UsageError if the host of a URL, or the proxy before it, accepts no connection within :data:`TIMEOUT`."""
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    proxy = None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(parts.scheme)
    target = urllib.parse.urlsplit(proxy) if proxy else parts
    address = (target.hostname or host, target.port or _PORTS[target.scheme])
    reason = ["no answer"]

    def connect() -> None:
        try:
            socket.create_connection(address, TIMEOUT).close()
            reason.clear()
        except OSError as error:
            reason[:] = [error.strerror or str(error)]

    # In a thread, since a name server that does not answer keeps no timeout of ours.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    if reason:
        raise UsageError(
            f"{address[0]} cannot be reached ({reason[0]}): connect to the network and type the same again, "
            "or copy the data set's folder from a machine where it is prepared"
        )


def check_any_reachable(urls: Iterable[str]) -> None:
    """Raise UsageError if no host of the URLs accepts connections; one URL per host is tried, all at the same time."""
    by_host = {urllib.parse.urlsplit(url).hostname: url for url in urls}

    def failure(url: str) -> UsageError | None:
        try:
            check_reachable(url)
        except UsageError as error:
            return error
        return None

    with concurrent.futures.ThreadPoolExecutor(max(len(by_host), 1)) as pool:
        failures = list(pool.map(failure, by_host.values()))
    if failures and failures[0] is not None and None not in failures:
        raise failures[0]


class _Namespace(types.SimpleNamespace):
    """A part of the stand-in; a missing name means a preparation that needs the real TensorFlow."""

    def __getattr__(self, name: str) -> Any:
        raise UsageError(f"its preparation needs TensorFlow itself (for '{name}'): choose a data set of plain images")


def _stand_in() -> _Namespace:
    """The functions that preparations of image data sets call."""
    gfile = _Namespace(
        GFile=open,
        exists=os.path.exists,
        isdir=os.path.isdir,
        listdir=os.listdir,
        glob=glob.glob,
        walk=os.walk,
        copy=shutil.copyfile,
    )
    return _Namespace(
        __version__="2.1.0",
        executing_eagerly=lambda: True,
        io=_Namespace(gfile=gfile),
        compat=_Namespace(as_text=os.fsdecode),
        errors=_Namespace(UnimplementedError=NotImplementedError),
        image=_Namespace(
            encode_png=lambda image: _encode(image, "PNG"),
            # TensorFlow's default quality; Pillow's own is 75.
            encode_jpeg=lambda image: _encode(image, "JPEG", quality=95),
        ),
    )


def _encode(image: UInt8[np.ndarray, "height width channels"], file_format: str, **options: Any) -> _Namespace:
    """An image file, wrapped like a TensorFlow tensor."""
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, format=file_format, **options)
    return _Namespace(numpy=file.getvalue)
