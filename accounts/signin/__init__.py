"""How somebody gets into the console, and stays in: password, second factor, sessions."""
