"""SMTP in. A message is answered 250 only after its commit; docs/gateway.md has the rules for operators.

server      listens, counts connections, starts and stops
session     one client's SMTP dialogue
data        what stands between 354 and CRLF.CRLF
addresses   paths and parameters of MAIL and RCPT
directory   which recipients are ours, and where their mail goes
commit      many messages, one transaction
trace       the Received line, loops
headers     a look at Message-ID, Subject and From for people who search
"""
