"""PDF and Word files for tests, made by the usual writers."""

from __future__ import annotations

import io
from collections.abc import Sequence

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
