"""Is a message really from who it says? Evaluated while it is taken in; docs/gateway.md has the rules.

resolver    DNS answers, each kept for as long as it may be
spf         may this client send for that domain (RFC 7208)
dkim        signatures (RFC 6376), one after the other
alignment   which domains belong together, and what DMARC (RFC 7489) makes of it
results     the Authentication-Results line (RFC 8601): ours written, forged ones removed
evaluation  all of it for one message, within a time limit
"""
