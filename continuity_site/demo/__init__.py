"""The demo mail server: a small real SMTP server that the dashboard can break and mend."""
