"""Receipts: which number is the total, the date, the order, from lines as OCR reads them."""

from __future__ import annotations

import pytest

from assistant.ports import Box, TextLine
from assistant.skills.receipt import Receipt, receipt_of

# Each row's texts stand side by side, parted by two blanks.
ENGLISH = """
LUMORA HOME STORE
12 Harbour Street
Order No. LH-48213  14/03/2026 16:20
Kettle K2  39.90
Filter  12.10
Subtotal  52.00
VAT 20%  8.67
TOTAL  52.00
Cash  60.00
Change  8.00
Exchange until 14/04/2026
"""
GERMAN = """
Kaufhaus Brandt
Datum: 03.11.2026  09:14
Bestellnummer  B-2026-771
Toaster T1  49,90
2 x Filter  19,80
Zwischensumme  69,70
Rabatt  -5,00
Summe EUR  64,70
Bar  70,00
Rückgeld  5,30
enthaltene MwSt 19 %  10,33
"""
FRENCH = """
LA MAISON DU THÉ
Facture n° FA20261
Le 5 novembre 2026
Bouilloire  1 249,00 €
Sous-total HT  1 040,83 €
TVA 20 %  208,17 €
Total TTC  1 249,00 €
"""
SPANISH = """
Ferretería Ruiz
Pedido: 99017-A
Fecha 07/10/2026
Taladro  89,95
IVA 21%  15,61
TOTAL A PAGAR  89,95
Tarjeta  89,95
"""
ITALIAN = """
BAR CENTRALE
Caffè  1,20
Cornetto  1,50
TOTALE COMPLESSIVO  2,70
Contanti  5,00
Resto  2,30
21-09-2026 08:02
Documento n. 0042-0117
"""
DUTCH = """
Bakkerij Vos
Bon nr: 551203
Brood  3,45
Koek  2,10
Totaal  5,55
Pin betaling  5,55
12-01-2026 10:31
"""
POLISH = """
PARAGON FISKALNY
nr 100234
Czajnik  129,99
PTU A 23%  24,31
SUMA PLN  129,99
Gotówka  150,00
Reszta  20,01
2026-02-17 13:45
"""
TURKISH = """
Kaya Market
TARİH: 19.08.2026
FİŞ NO: 0087
Ekmek  12,50
Süt  34,75
KDV  0,47
GENEL TOPLAM  47,25
NAKİT  50,00
PARA ÜSTÜ  2,75
"""
PORTUGUESE = """
Loja Azul
Encomenda n.º 2026-5561
Data: 30/06/2026
Ventoinha  59,00
Desconto  -9,00
Total  50,00
"""
JAPANESE = """
青空電器
2026年5月3日  14:05
レシート番号 48-1032
電気ケトル  ¥4,980
小計  ¥4,980
消費税  ¥498
合計  ¥5,478
お預り  ¥6,000
お釣り  ¥522
"""
CHINESE = """
晨光百货
订单号: 2026110900017
日期: 2026-11-09
电水壶  129.00
滤网  30.00
合计  159.00
现金  200.00
找零  41.00
"""
NOISY = """
STAR MINIMART
0RDER: 7781-22
Bread  2.40
MiIk  3.10
T0TAL RM  5.50
CASH  10.00
CHANGE  4.50
01/02/20261:05PM
"""
EXPECTED = {
    ENGLISH: ("52.00", "14/03/2026", "LH-48213"),
    GERMAN: ("64,70", "03.11.2026", "B-2026-771"),
    FRENCH: ("1249,00", "5 novembre 2026", "FA20261"),
    SPANISH: ("89,95", "07/10/2026", "99017-A"),
    ITALIAN: ("2,70", "21-09-2026", "0042-0117"),
    DUTCH: ("5,55", "12-01-2026", "551203"),
    POLISH: ("129,99", "2026-02-17", "100234"),
    TURKISH: ("47,25", "19.08.2026", "0087"),
    PORTUGUESE: ("50,00", "30/06/2026", "2026-5561"),
    JAPANESE: ("5,478", "2026年5月3日", "48-1032"),
    CHINESE: ("159.00", "2026-11-09", "2026110900017"),
    NOISY: ("5.50", "01/02/2026", "7781-22"),
}


def lines_of(text: str) -> list[TextLine]:
    """The lines as OCR finds them: a box each, in rows."""
    found = []
    for number, row in enumerate(text.strip().splitlines()):
        for place, part in enumerate(row.split("  ")):
            top, left = 0.02 + 0.05 * number, 0.05 + 0.55 * place
            found.append(TextLine(part, 0.95, Box(left, top, left + 0.4, top + 0.03)))
    return found


def values(receipt: Receipt) -> tuple[str | None, ...]:
    return tuple(one.value if one is not None else None for one in (receipt.total, receipt.date, receipt.order))


@pytest.mark.parametrize("text", EXPECTED, ids=[text.split()[0] for text in EXPECTED])
def test_total_date_and_order_of_receipts(text: str) -> None:
    assert values(receipt_of(lines_of(text))) == EXPECTED[text]
