"""How ready an account is for the next outage, and what to do first."""
