"""Files as customers send them, and photos as we keep them.

Import from the modules: this one loads nothing, because the process that decodes HEIC starts here.
"""
