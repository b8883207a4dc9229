"""What a receipt says: its total, date and order number, from the lines that OCR read and where they stand.

A label names a number, and arithmetic confirms it: what was given less the change, or the sum of what stands above. A
total is claimed only if a label names it; if arithmetic contradicts the label, it is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from assistant.ports import Box, TextLine
from assistant.text.folding import fold


@dataclass(frozen=True)
class Printed:
    """One number of the receipt as it is printed, how sure that is (0 to 1), and where it stands."""

    value: str
    confidence: float
    box: Box


@dataclass(frozen=True)
class Receipt:
    total: Printed | None = None
    date: Printed | None = None
    order: Printed | None = None


# Words on receipts, folded, in twelve languages.
_TOTAL = re.compile(
    r"\b(?:grand\s*)?t[o0]ta[li1](?:e|betrag|summe)?(?![a-rt-z])|\b(?:amount|balance)\s*(?:due|payable|to\s*pay)|\bnet\s*(?:amt|amount)\b"
    r"|\b(?:gesamt\w*|summe|endbetrag|zu\s*zahlen|rechnungsbetrag)\b|\b(?:montant|net)\s*(?:ttc|a\s*payer|du)\b"
    r"|\b(?:importe|suma)\b|\ba\s*(?:pagar|pagare)\b|\btotaal\b|\bte\s*betalen\b|\b(?:razem|do\s*zaplaty)\b"
    r"|\b(?:genel\s*)?toplam\b|合計|总计|總計|合计|应付|お会計|الاجمالي|المجموع"
)
_FINAL = re.compile(
    r"grand|\bdue\b|payable|to\s*pay|zahlen|payer|pagar|betalen|zaplaty|genel|ttc|incl|round(?:ed)?\b|nett?\b"
)
_PARTIAL = re.compile(
    r"\bsub|\bzwischen|\bsous|\btax(?:able)?\b|\bgst\b|\bvat\b|\bmwst|\btva\b|\biva\b|\bbtw\b|\bkdv\b"
    r"|disc|saving|rabatt|remise|descuento|sconto|korting|rabat|indirim|\bqty\b|quantity|\bitems?\b|\bpoints?\b|\bexcl"
    r"|小計|小计|ara\s*toplam|artikel|anzahl|\bround(?:ing)?\s*adj|\bcount\b|\bexc\b|\bbefore\b"
)
_WITH_TAX = re.compile(r"\bincl|\bttc\b|inkl|\bwith\b")
_PAID = re.compile(
    r"\bcash\b|\btender|\bpaid\b|\bcard\b|\bvisa\b|mastercard|\bbar\b|gegeben|\bkarte\b|especes|\bcarte\b|efectivo|tarjeta"
    r"|contant[ei]|\bcarta\b|\bpin\b|gotowka|\bkarta\b|nakit|\bkart\b|dinheiro|cartao|お預|現金|现金|刷卡|نقدا"
)
_CHANGE = re.compile(r"change|ruckgeld|\brendu|cambio|resto|wisselgeld|reszta|para\s*ustu|troco|お釣|找零|الباقي")
_DATE_WORD = re.compile(r"\b(?:date|datum|fecha|data|tarih|dated)\b|日期|日付|التاريخ")
_OTHER_DATE = re.compile(r"expir|valid|until|before|due|gultig|birth|best|exchange|umtausch")
_ORDER = re.compile(
    r"\b[o0]rder\b|bestell|auftrag|commande|pedido|ordine|bestelling|encomenda|zamowieni|siparis|注文|订单|訂單|الطلب"
)
_DOCUMENT = re.compile(
    r"\b(?:inv[o0]ice|receipt|bill|ticket|doc(?:ument[oe]?)?|rechnung\w*|beleg\w*|facture|factura|fattura|fatura|scontrino|bon|faktur\w*|paragon"
    r"|fis)\b|发票|領収|れしーと|فاتوره"
)
_NUMBER_WORD = re.compile(r"\b(?:no|nr|num\w*|id|ref\w*)\b|\bn[.°º]|nummer|[#:]|番号|号|رقم")
AMOUNT = re.compile(
    r"(?<![\w.,:/-])(?:[A-Z]{0,3}[$€£¥₺]?\s?)"
    r"(-?\d{1,3}(?:[.,' ]\d{3}){1,3}[.,]\d{2}|-?\d{1,9}\s?[.,]\s?\d{2}|-?[.,]\d{2})"
    r"(?![\d:/.,-]{0,20}\d|\s?%)",
    re.IGNORECASE,
)
_WHOLE = re.compile(
    r"[¥￥円元₺]\s?(\d{1,3}(?:,\d{3}){1,3}|\d{1,9})(?![\d.,])|(?<!\d)(\d{1,3}(?:,\d{3}){1,3}|\d{1,9})\s?[円元]"
)
_MONTH = r"(?:jan|feb|fev|m[ae]r|apr|avr|abr|ma[iyj]|ju[nil]|aug|ago|aou|sep|o[ck]t|out|nov|de[cz]|dic)[a-z]{0,9}"
DATE = re.compile(
    rf"(?<!\d)(?:(?:[12]\d|3[01]|0?[1-9])[./-](?:1[0-2]|0?[1-9])[./-](?:20\d\d|\d\d)"
    rf"|(?:1[0-2]|0?[1-9])/(?:[12]\d|3[01]|0?[1-9])/(?:20\d\d|\d\d)"
    rf"|20\d\d[./-](?:1[0-2]|0?[1-9])[./-](?:[12]\d|3[01]|0?[1-9])|20\d\d\s?年\s?\d{{1,2}}\s?月\s?\d{{1,2}}\s?日"
    rf"|(?:[12]\d|3[01]|0?[1-9])[ .-]{{0,2}}{_MONTH}[ .,'-]{{0,2}}(?:20\d\d|\d\d)"
    rf"|{_MONTH}[ .-]{{0,2}}\d{{1,2}},?\s20\d\d)",
    re.IGNORECASE,
)
_TIME = re.compile(r"\d{1,2}:\d{2}")
_IDENTIFIER = re.compile(r"(?=[A-Za-z0-9/#-]{0,29}\d)[A-Za-z0-9#][A-Za-z0-9/#-]{3,29}")


def receipt_of(lines: Sequence[TextLine]) -> Receipt:
    """Empty for what is not a receipt: without two amounts and a word for a total or a payment."""
    rows = _rows(lines)
    amounts = [amount for number, row in enumerate(rows) for amount in _amounts(number, row)]
    if len(amounts) < 2 or not any(_TOTAL.search(fold(row.text)) or _PAID.search(fold(row.text)) for row in rows):
        return Receipt()
    return Receipt(_total(rows, amounts), _date(rows), _order(rows))


@dataclass(frozen=True)
class _Row:
    """What stands side by side, left to right."""

    lines: tuple[TextLine, ...]

    @property
    def text(self) -> str:
        return " ".join(line.text for line in self.lines)


@dataclass(frozen=True)
class _Amount:
    row: int
    cents: int
    line: TextLine
    printed: str


def _rows(lines: Sequence[TextLine]) -> list[_Row]:
    """The lines by rows: those that overlap in height by more than half of the lower one."""
    rows: list[list[TextLine]] = []
    for line in sorted((line for line in lines if line.text), key=lambda line: line.box.top + line.box.bottom):
        for row in rows[-3:]:
            last = max(row, key=lambda other: other.box.left)
            shared = min(last.box.bottom, line.box.bottom) - max(last.box.top, line.box.top)
            if shared > 0.5 * min(last.box.bottom - last.box.top, line.box.bottom - line.box.top):
                row.append(line)
                break
        else:
            rows.append([line])
    return [_Row(tuple(sorted(row, key=lambda line: line.box.left))) for row in rows]


def _amounts(number: int, row: _Row) -> Iterator[_Amount]:
    for line in row.lines:
        text = DATE.sub(" ", line.text)
        for match in AMOUNT.finditer(text):
            digits = re.sub(r"[^\d]", "", match.group(1))
            yield _Amount(number, int(digits), line, match.group(1).replace(" ", ""))
        for match in _WHOLE.finditer(text):
            whole = match.group(1) or match.group(2)
            yield _Amount(number, 100 * int(whole.replace(",", "")), line, whole)


def _total(rows: Sequence[_Row], amounts: Sequence[_Amount]) -> Printed | None:
    """What was paid less the change, if that is printed as well; else the amount that a label names as the total."""
    labels = [fold(_label(rows, amount)) for amount in amounts]
    paid, change = _settled(amounts, labels)
    due = {one - other for one in paid for other in change} if change else paid
    named = [
        (amount, label)
        for amount, label in zip(amounts, labels, strict=True)
        if amount.cents > 0 and _names_total(label)
    ]
    settled = [amount for amount, _ in named if amount.cents in due] or [
        amount for amount, label in zip(amounts, labels, strict=True)
        if amount.cents in due and not _PAID.search(label) and not _CHANGE.search(label)
    ]  # fmt: skip
    if settled:
        return _printed(settled[-1], 0.97)
    if not named:
        return None
    final = [amount for amount, label in named if _FINAL.search(label)] or [amount for amount, _ in named]
    chosen = max(final, key=lambda amount: (amount.cents, amount.row))
    above = [amount.cents for amount in amounts if amount.row < chosen.row]
    adds_up = any(sum(above[start:]) == chosen.cents for start in range(len(above) - 1))
    alone = len({amount.cents for amount in final}) == 1
    return _printed(chosen, 0.95 if adds_up else 0.88 if alone else 0.65)


def _printed(amount: _Amount, sure: float) -> Printed:
    return Printed(amount.printed, sure * amount.line.confidence, amount.line.box)


def _settled(amounts: Sequence[_Amount], labels: Sequence[str]) -> tuple[set[int], set[int]]:
    """(what was paid, what was given back), in cents."""
    found: tuple[set[int], set[int]] = set(), set()
    for amount, label in zip(amounts, labels, strict=True):
        if _CHANGE.search(label):
            found[1].add(abs(amount.cents))
        elif _PAID.search(label) and not _TOTAL.search(label):
            found[0].add(abs(amount.cents))
    return found


def _names_total(label: str) -> bool:
    if _TOTAL.search(label) is None or _PAID.search(label) is not None or _CHANGE.search(label) is not None:
        return False
    return _PARTIAL.search(label) is None or _WITH_TAX.search(label) is not None


def _label(rows: Sequence[_Row], amount: _Amount) -> str:
    """The words left of the amount; if there are none, the row above, unless that has amounts of its own."""
    row = rows[amount.row]
    beside = " ".join(line.text for line in row.lines if line.box.left <= amount.line.box.left)
    words = AMOUNT.sub(" ", beside)
    if amount.row == 0 or any(map(str.isalpha, re.sub(r"\b[A-Z]{1,3}\b", "", words))):
        return words
    above = rows[amount.row - 1].text
    return words if AMOUNT.search(above) else above


def _date(rows: Sequence[_Row]) -> Printed | None:
    """The date beside the word "date" or a time of day, else the first; not one until which something is valid."""
    best: tuple[float, Printed] | None = None
    for row in rows:
        folded = fold(row.text)
        for line in row.lines:
            match = DATE.search(line.text)
            if match is None or _OTHER_DATE.search(folded):
                continue
            sure = 0.95 if _DATE_WORD.search(folded) or _TIME.search(row.text) else 0.8
            printed = Printed(match.group(), sure * line.confidence, line.box)
            if best is None or sure > best[0]:
                best = sure, printed
    return best[1] if best is not None else None


def _order(rows: Sequence[_Row]) -> Printed | None:
    """The order's number; on receipts without an order, the receipt's or invoice's own."""
    for label in (_ORDER, _DOCUMENT):
        for number, row in enumerate(rows):
            folded = fold(row.text)
            match = label.search(folded)
            below = rows[number + 1 : number + 2]
            following = " ".join([folded[match.start() :], *(fold(other.text) for other in below)]) if match else ""
            if not _NUMBER_WORD.search(following):
                continue
            for candidate in (row, *below):
                found = _identifier(candidate, after=label if candidate is row else None)
                if found is not None:
                    return found
    return None


def _identifier(row: _Row, *, after: re.Pattern[str] | None) -> Printed | None:
    """The first identifier in the row that is neither date nor amount, behind the label if that is in the row."""
    seen = after is None
    for line in row.lines:
        text = line.text
        if not seen and after is not None:
            match = after.search(fold(text))
            if match is None:
                continue
            seen, text = True, text[match.end() :]
        for match in _IDENTIFIER.finditer(AMOUNT.sub(" ", DATE.sub(" ", text))):
            return Printed(match.group().strip("#"), 0.9 * line.confidence, line.box)
    return None
