"""Bulk notices: one text to many people, outside the mail server. See docs/notices.md."""
