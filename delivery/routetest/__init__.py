"""Testing a route: one host after the other, step by step, with the server's words. docs/route-test.md."""
