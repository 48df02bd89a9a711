"""People check, by a personal link, how they are reached while the mail server is down."""
