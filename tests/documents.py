"""PDF and Word files for tests, made by the usual writers."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from PIL import Image

from tests.factories import make_photo


def make_pdf(lines: Sequence[tuple[str, float]], *, pages: int = 1, password: str | None = None) -> bytes:
    """Texts below each other, each in its size, on the first of ``pages`` pages."""
    from fpdf import FPDF

    pdf = FPDF()
    if password is not None:
        pdf.set_encryption(owner_password="owner", user_password=password)
    pdf.add_page()
    for text, size in lines:
        pdf.set_font("helvetica", size=size)
        pdf.multi_cell(0, size / 2, text, new_x="LMARGIN", new_y="NEXT")
        pdf.ln(3)
    for _ in range(pages - 1):
        pdf.add_page()
    return bytes(pdf.output())


_CODES = (
    ("Code", "Meaning", "What to do"),
    ("F1", "No water", "Open the tap"),
    ("F2", "Pump blocked", "Clean the filter"),
)


def make_manual() -> bytes:
    """A manual as they are: title, contents, running heads, a table, steps, a figure, a scanned page."""
    from fpdf import FPDF, FontFace

    class Manual(FPDF):
        def header(self) -> None:
            self.set_font("helvetica", size=8)
            self.cell(0, 5, "User manual", new_x="LMARGIN", new_y="NEXT")
            self.ln(4)

        def footer(self) -> None:
            self.set_y(-15)
            self.set_font("helvetica", size=8)
            self.cell(0, 5, f"Page {self.page_no()}")

    pdf = Manual()

    def write(text: str, *, size: float = 11, bold: bool = False) -> None:
        pdf.set_font("helvetica", "B" if bold else "", size)
        pdf.multi_cell(0, size / 2, text, new_x="LMARGIN", new_y="NEXT")

    def heading(text: str, level: int) -> None:
        pdf.start_section(text, level=level)
        write(text, size=(18, 14)[level], bold=True)
        pdf.ln(2)

    pdf.add_page()
    write("WashPro 8 Washing Machine", size=26, bold=True)
    write("Thank you for choosing this machine. " * 8)
    heading("Error codes", 0)
    write("The display shows a code when something is wrong.")
    pdf.set_font("helvetica", size=11)
    with pdf.table(headings_style=FontFace(emphasis="BOLD")) as table:
        for cells in _CODES:
            row = table.row()
            for cell in cells:
                row.cell(cell)
    heading("Clean the filter", 1)
    write("Do it in this order:")
    first = (
        "Switch the machine off and pull the plug out of the wall first, and wait some time until it has cooled down."
    )
    for number, step in enumerate((first, "Open the flap.", "Turn the filter to the left."), start=1):
        write(f"{number}. {step}")
    pdf.ln(3)
    pdf.image(Image.open(io.BytesIO(make_photo("FILTER", kind="PNG"))), w=70)
    write("Figure 1: The filter behind the flap", size=9)
    pdf.add_page()
    heading("Care", 0)
    write("Wipe the drum with a damp cloth. " * 10)
    pdf.add_page()
    pdf.image(Image.open(io.BytesIO(make_photo("SCANNED PAGE", size=(700, 990), kind="PNG"))), x=0, y=20, w=200, h=250)
    pdf.add_page()
    heading("Contact", 0)
    write("Write to us.")
    return bytes(pdf.output())


def make_docx(picture: bytes) -> bytes:
    """Title, headings, a table, numbered steps, bullets, a picture with a caption."""
    import docx

    document = docx.Document()
    document.add_heading("WashPro 8", 0)
    document.add_paragraph("Intro text.")
    document.add_heading("Error codes", 1)
    table = document.add_table(rows=0, cols=2)
    for code, meaning in (("Code", "Meaning"), ("F1", "No water")):
        cells = table.add_row().cells
        cells[0].text, cells[1].text = code, meaning
    document.add_heading("Steps", 2)
    document.add_paragraph("Do this:")
    for step in ("Open", "Turn", "Close"):
        document.add_paragraph(step, style="List Number")
    for item in ("Dry", "Clean"):
        document.add_paragraph(item, style="List Bullet")
    document.add_picture(io.BytesIO(picture))
    document.add_paragraph("Figure 1: The pump", style="Caption")
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_NAMESPACES = (
    f'xmlns:w="{_WORD}" xmlns:r="{_OFFICE}" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
    'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape" '
    'xmlns:v="urn:schemas-microsoft-com:vml" xmlns:o="urn:schemas-microsoft-com:office:office" '
    'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
)
_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml"


def word_paragraph(inner: str, properties: str = "") -> str:
    """A paragraph in Word's own XML; plain text is put into a run."""
    runs = inner if inner.startswith("<") or not inner else word_run(inner)
    return "<w:p>" + (f"<w:pPr>{properties}</w:pPr>" if properties else "") + f"{runs}</w:p>"


def word_run(text: str, properties: str = "") -> str:
    before = f"<w:rPr>{properties}</w:rPr>" if properties else ""
    return f'<w:r>{before}<w:t xml:space="preserve">{text}</w:t></w:r>'


def word_table(*rows: Sequence[str]) -> str:
    """Rows of cells; a cell is text, or XML that begins with its properties."""
    inner = ""
    for row in rows:
        cells = (cell if cell.startswith("<") else word_paragraph(cell) for cell in row)
        inner += "<w:tr>" + "".join(f"<w:tc>{cell}</w:tc>" for cell in cells) + "</w:tr>"
    return f"<w:tbl>{inner}</w:tbl>"


def make_word_xml(
    body: str,
    *,
    parts: Mapping[str, str] = MappingProxyType({}),
    links: Sequence[str] = (),
    kind: str = "document.main",
    strict: bool = False,
) -> bytes:
    """A Word file of raw XML, as other programs write it. ``parts``: the inner XML of numbering, styles, footnotes,
    endnotes, header, footer. ``links``: targets of the relations link0, link1, …"""
    roots = {"numbering": "numbering", "styles": "styles", "footnotes": "footnotes", "endnotes": "endnotes"}
    relations = "".join(
        f'<Relationship Id="{part}" Type="{_OFFICE}/{part}" Target="{part}.xml"/>' for part in parts
    ) + "".join(
        f'<Relationship Id="link{number}" Type="{_OFFICE}/hyperlink" Target="{link}" TargetMode="External"/>'
        for number, link in enumerate(links)
    )
    files = {"word/document.xml": f"<w:document {_NAMESPACES}><w:body>{body}</w:body></w:document>"}
    for part, inner in parts.items():
        root = roots.get(part, {"header": "hdr", "footer": "ftr"}.get(part, part))
        files[f"word/{part}.xml"] = f"<w:{root} {_NAMESPACES}>{inner}</w:{root}>"
    listing = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'
    files["word/_rels/document.xml.rels"] = f"<Relationships {listing}>{relations}</Relationships>"
    files["_rels/.rels"] = (
        f'<Relationships {listing}><Relationship Id="a" Type="{_OFFICE}/officeDocument" Target="word/document.xml"/>'
        "</Relationships>"
    )
    files["[Content_Types].xml"] = (
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{_TYPE}.{kind}+xml"/></Types>'
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, _strict(text) if strict else text)
    return buffer.getvalue()


def _strict(xml: str) -> str:
    xml = xml.replace(_WORD, "http://purl.oclc.org/ooxml/wordprocessingml/main")
    return xml.replace(_OFFICE, "http://purl.oclc.org/ooxml/officeDocument/relationships")
