"""The rated sentences: read from an archive in an archive of pip's index, whose checksum must be the known one."""

import hashlib
import io
import json
import tarfile

import pytest

from aigc_jax.data import sentiment
from aigc_jax.data.labelled import open_documents, open_labelled_texts
from aigc_jax.types import UsageError

LINES = "ID\tMEAN\tTEXT\n" + "".join(f"{i // 2}_{i % 2}\t{2.5 - i / 4}\tSentence {i}, too\n" for i in range(20))


def packed(files):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index in a folder; a function that puts a source archive into it, and returns its checksum."""
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)

    def publish(content):
        folder = tmp_path / "simple" / sentiment.PACKAGE
        folder.mkdir(parents=True, exist_ok=True)
        (folder / sentiment.SDIST).write_bytes(content)
        (folder / "index.html").write_text(f'<a href="{sentiment.SDIST}#sha256=0">{sentiment.SDIST}</a>')
        return hashlib.sha256(content).hexdigest()

    return publish


def test_prepare_sentiment_reads_the_sentences_and_keeps_documents_together(index, tmp_path):
    inner = packed({f"./data/{name}": LINES.encode() for name in sentiment.DOMAINS.values()})
    digest = index(packed({"v/setup.py": b"raise SystemExit", f"v/{sentiment.ARCHIVE}": inner}))
    message = sentiment.prepare_sentiment(str(tmp_path), sha256=digest)
    rows = [json.loads(line) for line in (tmp_path / sentiment.FILE).read_text().splitlines()]
    # |2.5 - i / 4| > 0.8 leaves i = 0 ... 6 and 14 ... 19 of each of four files.
    assert f"{len(rows)} sentences" in message
    assert len(rows) == 4 * 13
    assert rows[0] == {"text": "Sentence 0, too", "label": "positive", "domain": "films", "rating": 2.5,
                       "document": "films 0"}  # fmt: skip
    assert [row["label"] for row in rows[:13]] == ["positive"] * 7 + ["negative"] * 6
    texts = open_labelled_texts("sentiment", str(tmp_path))
    assert texts.class_names == ["negative", "positive"]
    assert len(texts.train.texts) + len(texts.held_out.texts) == len(rows)
    documents = open_documents("sentiment", str(tmp_path))
    assert (documents.train, documents.held_out) == (texts.train.texts, texts.held_out.texts)
    assert "already prepared" in sentiment.prepare_sentiment(str(tmp_path))


def test_prepare_sentiment_of_another_checksum_or_archive_is_one_line(index, tmp_path):
    digest = index(packed({"v/setup.py": b""}))
    with pytest.raises(UsageError, match=r"the checksum of vaderSentiment-3.3.2.tar.gz is"):
        sentiment.prepare_sentiment(str(tmp_path))
    with pytest.raises(UsageError, match=r"does not hold the sentences \(no additional_resources"):
        sentiment.prepare_sentiment(str(tmp_path), sha256=digest)
    digest = index(b"no archive")
    with pytest.raises(UsageError, match=r"does not hold the sentences"):
        sentiment.prepare_sentiment(str(tmp_path), sha256=digest)
    assert not (tmp_path / "sentiment").exists()


def test_prepare_sentiment_without_an_index_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "nothing").as_uri())
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    with pytest.raises(UsageError, match="set PIP_INDEX_URL") as error:
        sentiment.prepare_sentiment(str(tmp_path))
    assert "\n" not in str(error.value)
