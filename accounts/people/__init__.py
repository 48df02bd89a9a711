"""The people of an account and their groups: pages, import, export."""
