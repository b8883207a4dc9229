"""Use cases of the support desk: conversations, tickets, triage, drafts, evidence, and access to them.

A function that takes ``session`` works in its caller's transaction and never commits; one that takes ``db`` or
``desk`` opens short transactions of its own. No transaction is open while a model runs. `state` alone writes to tickets
and conversations; `feed` tells what changed.
"""
