"""SMTP out: claims what is due, hands it to the mail server, writes down what became of it."""
