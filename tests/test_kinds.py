"""What opening a file might do, by its name and its bytes."""

from __future__ import annotations

import io
import zipfile

import pytest

from assistant.media.kinds import Risk, risk_of

PROGRAM = b"MZ\x90\0" + bytes(60)
PDF = b"%PDF-1.7\n1 0 obj <</Type /Catalog>> endobj\n%%EOF"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.writestr(name, "content of " + name)
    return buffer.getvalue()


ORDINARY = [
    ("manual.pdf", PDF),
    ("Rechnung Nr. 12.PDF", PDF),
    ("letter.docx", archive("[Content_Types].xml", "word/document.xml")),
    ("prices.xlsx", archive("[Content_Types].xml", "xl/workbook.xml")),
    ("slides.odp", archive("mimetype", "content.xml")),
    ("old letter.doc", OLE),
    ("log.txt", b"12:00 pump on\n12:01 E21\n"),
    ("заметки.txt", "Насос не работает".encode()),
    ("notes.txt", "Pumpe läuft nicht".encode("latin-1")),
    ("export.csv", "\ufeffname;wert\nä;1".encode("utf-16")),
    ("empty lines.md", b"\n\n# Title"),
    ("photos.zip", archive("a/display.jpg", "a/label.png")),
    ("logs.tar", b"log.txt" + bytes(250) + b"ustar" + bytes(250)),
    ("logs.gz", b"\x1f\x8b\x08" + bytes(30)),
    ("noise.m4a", b"\0\0\0\x20ftypM4A " + bytes(30)),
    ("clip.mov", b"\0\0\0\x14ftypqt  " + bytes(30)),
    ("clip.webm", b"\x1a\x45\xdf\xa3" + bytes(30)),
    ("beep.mp3", b"ID3\x04" + bytes(30)),
    ("voice.ogg", b"OggS" + bytes(30)),
    ("mail.eml", b"From: a@example.org\nSubject: x\n\nHello <html> world"),
    ("letter.rtf", b"{\\rtf1 Hello}"),
    ("talk of scripts.txt", b"How do I run <script> in your app?"),
]
RISKY = [
    ("setup.exe", PROGRAM, Risk.PROGRAM),
    ("SETUP.EXE", b"anything", Risk.PROGRAM),
    ("photo.jpg.exe", PROGRAM, Risk.PROGRAM),
    ("invoice.pdf", PROGRAM, Risk.PROGRAM),
    ("no extension", b"\x7fELF" + bytes(60), Risk.PROGRAM),
    ("fix.txt", b"#!/bin/sh\nrm -rf /", Risk.PROGRAM),
    ("fix.ps1", b"Remove-Item", Risk.PROGRAM),
    ("run.bat ", b"del", Risk.PROGRAM),
    ("a.lnk", b"L\0\0\0\x01\x14\x02\0", Risk.PROGRAM),
    ("macro.js", b"WScript.Shell", Risk.PROGRAM),
    ("app.jar", archive("META-INF/MANIFEST.MF"), Risk.PROGRAM),
    ("setup.iso", bytes(100), Risk.PROGRAM),
    ("order.docm", archive("word/document.xml"), Risk.MACROS),
    ("order.docx", archive("word/document.xml", "word/vbaProject.bin"), Risk.MACROS),
    ("order.xlsx", archive("xl/workbook.xml", "xl/macrosheets/sheet1.xml"), Risk.MACROS),
    ("order.xls", OLE + "_VBA_PROJECT".encode("utf-16-le"), Risk.MACROS),
    ("page.html", b"<p>hello", Risk.ACTIVE),
    ("page.txt", b"\xef\xbb\xbf  <!DOCTYPE html><script>alert(1)</script>", Risk.ACTIVE),
    ("page16.txt", "\ufeff<html>".encode("utf-16"), Risk.ACTIVE),
    ("drawing.svg", b"<svg onload='alert(1)'/>", Risk.ACTIVE),
    ("drawing", b"<svg xmlns='x'>", Risk.ACTIVE),
    ("web.php.txt", b"<?php system($_GET[0]);", Risk.ACTIVE),
    ("form.pdf", PDF + b"/OpenAction <</S /JavaScript /JS (app.alert)>>", Risk.ACTIVE),
    ("launch.pdf", PDF + b"<</S /Launch /F (cmd.exe)>>", Risk.ACTIVE),
    ("letter.rtf", b"{\\rtf1{\\object\\objdata 0105}}", Risk.ACTIVE),
    ("photos.zip", archive("a/display.jpg", "a/setup.EXE"), Risk.ARCHIVE),
    ("invoice.zip", archive("invoice.pdf.js"), Risk.ARCHIVE),
    ("docs.zip", archive("order.docm"), Risk.ARCHIVE),
    ("report.pdf", b"just text", Risk.DISGUISE),
    ("letter.docx", PDF, Risk.DISGUISE),
    ("log.txt", bytes(range(256)), Risk.DISGUISE),
    ("prices.xlsx", OLE, Risk.DISGUISE),
    ("dump.bak", b"anything", Risk.UNKNOWN),
    ("file", b"anything", Risk.UNKNOWN),
    ("archive.rar", b"Rar!\x1a\x07\0", Risk.UNKNOWN),
]


@pytest.mark.parametrize(("name", "data"), ORDINARY, ids=lambda value: value if isinstance(value, str) else "")
def test_what_customers_send_is_ordinary(name: str, data: bytes) -> None:
    assert risk_of(name, data) is None


@pytest.mark.parametrize(("name", "data", "risk"), RISKY, ids=lambda value: value if isinstance(value, str) else "")
def test_what_may_harm_who_opens_it_is_risky(name: str, data: bytes, risk: Risk) -> None:
    assert risk_of(name, data) is risk


def test_an_operator_adds_a_kind_and_takes_one_away() -> None:
    assert risk_of("part.step", b"ISO-10303-21;", allowed=["step"]) is None
    assert risk_of("manual.pdf", PDF, allowed=["step"]) is Risk.UNKNOWN
    assert risk_of("part.step", PROGRAM, allowed=["step"]) is Risk.PROGRAM


def test_an_archive_with_too_many_files_to_look_at_is_risky() -> None:
    entry = b"PK\x01\x02" + bytes(42)
    assert risk_of("many.zip", b"PK\x03\x04" + entry * 30_000) is Risk.ARCHIVE
