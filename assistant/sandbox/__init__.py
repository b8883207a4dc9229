"""Hostile files are read in processes of their own.

A decoder may crash on a damaged file, loop forever, or unpack it to gigabytes. Run here, that costs one call and not
the server. `worker` starts such processes and bounds them; `child` is what runs in them. Known to both: a reader, named
``package.module:name``, is a function ``(data: bytes, **options) -> bytes``, or a class whose instances are such
functions. An instance is created once per process, so this is where a model is loaded.

This contains faults, not intruders: the process gets no secrets in its environment, but has the rights of its user.
"""
