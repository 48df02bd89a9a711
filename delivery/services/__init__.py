"""The only writer of mail: accepting, sending, pausing."""
