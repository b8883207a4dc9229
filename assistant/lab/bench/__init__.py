"""How fast the product is on this machine. One module for each thing that is measured; nothing else imports them."""
