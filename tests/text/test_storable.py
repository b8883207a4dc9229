from assistant.text.storable import storable


def test_what_no_database_accepts_is_removed() -> None:
    assert storable("a\0b\ud800 é 😀") == "ab é 😀"
