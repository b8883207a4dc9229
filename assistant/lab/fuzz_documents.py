"""Mutated articles through the real import: does any of them end it, fail it, or cost too much time or memory?

    python -m assistant.lab.fuzz_documents [COUNT]

Files are damaged as such, and Word files inside too: a damaged archive alone says little about how its parts are read.
"""

from __future__ import annotations

import io
import random
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from assistant.knowledge import sources
from assistant.media.files import Upload
from assistant.runtime import build
from assistant.settings import Settings

_AT_ONCE = 20
_EDGES = (0, 1, 0x7F, 0x80, 0xFF)
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_LISTING = "http://schemas.openxmlformats.org/package/2006/relationships"


@dataclass
class Report:
    """``unforeseen``: reasons of readers that failed with an error nobody had thought of; they cost the one file."""

    files: int = 0
    imported: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unforeseen: Counter[str] = field(default_factory=Counter)
    slowest_seconds: float = 0.0  # of `_AT_ONCE` files
    memory_mb: list[float] = field(default_factory=list)

    def render(self) -> str:
        return (
            f"{self.files} files: {self.imported} imported, {sum(self.refused.values())} refused, "
            f"{sum(self.unforeseen.values())} with an unforeseen error {dict(self.unforeseen.most_common(5))}\n"
            f"slowest {_AT_ONCE} files {self.slowest_seconds:.1f} s\n"
            f"memory {self.memory_mb[0]:.0f} MB after the first, {self.memory_mb[-1]:.0f} MB at the end, "
            f"{max(self.memory_mb):.0f} MB at most"
        )


def fuzz(count: int, *, seed: int = 0) -> Report:
    """Import ``count`` mutated files, a few at a time, into an empty knowledge base."""
    report, originals = Report(), seeds()
    with tempfile.TemporaryDirectory(prefix="assistant-fuzz-") as folder:
        runtime = build(Settings(data_dir=Path(folder), log_level="error"))
        try:
            for start in range(0, count, _AT_ONCE):
                numbers = range(start, min(start + _AT_ONCE, count))
                uploads = [_upload(number, originals, seed) for number in numbers]
                before = time.perf_counter()
                source = sources.add_files(runtime.desk, uploads, name=f"fuzz-{start}")
                outcome = sources.sync(runtime.desk, source.id)
                report.slowest_seconds = max(report.slowest_seconds, time.perf_counter() - before)
                report.files += len(uploads)
                report.imported += len(uploads) - len({key.split("#")[0] for key, _ in outcome.failed})
                for _, reason in outcome.failed:
                    is_unforeseen = reason.startswith("cannot be read: ")
                    (report.unforeseen if is_unforeseen else report.refused)[reason[:60]] += 1
                report.memory_mb.append(psutil.Process().memory_info().rss / 1e6)
        finally:
            runtime.close()
    return report


def _upload(number: int, originals: Sequence[tuple[str, bytes]], seed: int) -> Upload:
    chance = random.Random(f"{seed}:{number}")
    suffix, data = chance.choice(originals)
    others = [other for kind, other in originals if kind == suffix]
    mutated = _inside(chance, data) if suffix == ".docx" and chance.random() < 0.8 else mutate(chance, data, others)
    return Upload(f"file-{number}{suffix}", None, mutated)


def mutate(chance: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A file after one to four changes: bytes, parts cut, doubled, made noise or taken from another, the end lost."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(changed) + 1)
        length = chance.choice((1, 2, 4, 16, 64, 512))
        match chance.randrange(6):
            case 0:
                changed[at : at + 1] = bytes([chance.choice(_EDGES)])
            case 1:
                changed[at : at + length] = b""
            case 2:
                changed[at:at] = changed[at : at + length] * chance.choice((1, 2, 50))
            case 3:
                changed[at : at + length] = chance.choice(others)[at : at + length]
            case 4:
                changed[at : at + length] = chance.randbytes(length)
            case _:
                del changed[max(1, at) :]
    return bytes(changed)


def _inside(chance: random.Random, data: bytes) -> bytes:
    """A Word file of which one part is changed: tags doubled or lost, a number made huge or nothing, bytes as above."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = chance.choice(sorted(parts))
    text = parts[name].decode()
    tags = [at for at, char in enumerate(text) if char == "<"]
    at, end = chance.choice(tags), chance.choice(tags)
    match chance.randrange(4):
        case 0:
            text = text[:at] + text[end:] if at < end else text[:end] + text[end:at] * 2 + text[at:]
        case 1:
            text = text.replace('w:val="1"', f'w:val="{chance.choice(("", "-1", "99999999999", "x", "0"))}"')
        case 2:
            text = text.replace("<w:p>", "<w:p>" + "<w:ins>" * chance.choice((1, 100, 300)), 1)
        case _:
            parts[name] = mutate(chance, parts[name], [parts[name]])
            return _archive(parts)
    parts[name] = text.encode()
    return _archive(parts)


def _archive(parts: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def seeds() -> list[tuple[str, bytes]]:
    """A small file of each kind, made here, with all that its reader knows."""
    page = (
        "<html><head><title>Kettle</title></head><body><main><h1>Kettle</h1><p>Fill <a href='/x'>it</a>.</p><table><tr>"
        "<th rowspan=2>Code</th><td>E1</td></tr><tr><td>Lid</td></tr></table><details><summary>Care</summary><ol><li>"
        "Rinse<ul><li>Dry</li></ul></li></ol></details><del>no</del><form><input value=1></form></main></body></html>"
    )
    rows = 'sep=;\nQuestion;Answer;Product\n"What does E1 mean?";"The ""lid"" is open";kettle\nE2?;Water;kettle\n'
    return [
        (".pdf", _pdf()),
        (".docx", _word()),
        (".html", page.encode()),
        (".csv", rows.encode()),
        (".csv", rows.encode("utf-16")),
    ]


def _pdf() -> bytes:
    """Two pages in PDF's own syntax: text in two sizes, a table with rules, a link, a filled-in field."""
    rules = " ".join(f"50 {y} m 400 {y} l S" for y in (700, 680, 660)) + " 50 700 m 50 660 l S 200 700 m 200 660 l S"
    words = ((50, 760, 20, "Kettle"), (60, 686, 10, "Code"), (210, 686, 10, "Meaning"), (60, 666, 10, "E1"),
             (210, 666, 10, "Lid open"), (50, 600, 10, "Fill the jug and close the lid."))  # fmt: skip
    text = " ".join(f"BT /F1 {size} Tf {x} {y} Td ({word}) Tj ET" for x, y, size, word in words)
    content = f"{rules} {text}".encode()
    kids = "/Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 5 0 R >> >> /Contents 6 0 R"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R 4 0 R] /Count 2 >>",
        f"<< {kids} /Annots [7 0 R 8 0 R] >>".encode(),
        f"<< {kids} /Rotate 90 >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Length %d >> stream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Annot /Subtype /Link /Rect [50 590 200 612] /A << /S /URI /URI (https://lumora.example/) >> >>",
        b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (serial) /V (S-77) /Rect [50 500 200 515] >>",
    ]
    body, offsets = bytearray(b"%PDF-1.7\n"), []
    for number, one in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj %s endobj\n" % (number, one)
    start = len(body)
    body += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    body += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return bytes(body + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start))


def _word() -> bytes:
    """A heading, changes, a numbered list, a table with merged cells, a text box, a note, a field."""
    run = "<w:r><w:t>{}</w:t></w:r>".format
    field_mark = '<w:r><w:fldChar w:fldCharType="{}"/></w:r>'.format
    item = f'<w:p><w:pPr><w:numPr><w:ilvl w:val="1"/><w:numId w:val="1"/></w:numPr></w:pPr>{run("Rinse")}</w:p>'
    box = f"<w:r><w:pict><w:txbxContent><w:p>{run('Hot')}</w:p></w:txbxContent></w:pict></w:r>"
    body = (
        f'<w:p><w:pPr><w:outlineLvl w:val="1"/></w:pPr>{run("Kettle")}</w:p><w:p><w:ins>{run("Fill")}</w:ins><w:del>'
        f'{run("no")}</w:del>{box}<w:r><w:footnoteReference w:id="1"/></w:r></w:p>{item}{item}<w:tbl><w:tr><w:tc>'
        f'<w:tcPr><w:gridSpan w:val="1"/><w:vMerge w:val="restart"/></w:tcPr><w:p>{run("Code")}</w:p></w:tc><w:tc><w:p>'
        f"{run('E1')}</w:p></w:tc></w:tr><w:tr><w:tc><w:tcPr><w:vMerge/></w:tcPr><w:p/></w:tc><w:tc><w:p>{run('Lid')}"
        f"</w:p></w:tc></w:tr></w:tbl><w:p>{field_mark('begin')}<w:r><w:instrText>REF x</w:instrText></w:r>"
        f"{field_mark('separate')}{run('4.2')}{field_mark('end')}</w:p>"
    )
    numbering = (
        '<w:abstractNum w:abstractNumId="1"><w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="lowerRoman"/>'
        '<w:lvlText w:val="%1.%2"/></w:lvl></w:abstractNum><w:num w:numId="1"><w:abstractNumId w:val="1"/></w:num>'
    )
    parts = {"document": ("document", f"<w:body>{body}</w:body>"), "numbering": ("numbering", numbering),
             "footnotes": ("footnotes", f'<w:footnote w:id="1"><w:p>{run("Note")}</w:p></w:footnote>')}  # fmt: skip
    files = {f"word/{name}.xml": f'<w:{root} xmlns:w="{_WORD}">{inner}</w:{root}>'.encode()
             for name, (root, inner) in parts.items()}  # fmt: skip
    for place, kinds in (("word/_rels/document.xml", ("numbering", "footnotes")), ("_rels/", ("officeDocument",))):
        relations = "".join(
            f'<Relationship Id="{kind}" Type="{_OFFICE}/{kind}" Target="'
            f'{"word/document" if kind == "officeDocument" else kind}.xml"/>'
            for kind in kinds
        )
        files[f"{place}.rels"] = f'<Relationships xmlns="{_LISTING}">{relations}</Relationships>'.encode()
    return _archive(files)


if __name__ == "__main__":
    sys.stdout.write(fuzz(int(sys.argv[1]) if len(sys.argv) > 1 else 500).render() + "\n")
