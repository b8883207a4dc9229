"""Where the product is trained, evaluated and measured. Nothing that serves customers imports it."""
