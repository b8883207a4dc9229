"""What the assistant can do. Plain data in, plain data out: no session, no Flask, no engine."""
