"""Use cases: domain verbs, rules and transactions.

A function taking ``session`` works inside the caller's transaction and never commits; one taking ``db`` or ``desk``
opens its own short ones. No transaction is open while a model reads, decides or writes.
"""
