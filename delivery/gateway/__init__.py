"""SMTP in. A message is answered 250 only after its commit; docs/gateway.md has the rules for operators.

server      listens, counts connections, starts and stops
session     one client's SMTP dialogue
submission_session, submission   the dialogue of those who sign in, and their passwords
lines       command lines taken apart
transaction what MAIL and RCPT said
data        what stands between 354 and CRLF.CRLF
addresses   paths and parameters of MAIL and RCPT
directory   which recipients are ours, and where their mail goes
outbound    who may send to other organisations, and by which route
commit      many messages, one transaction
trace       the Received line, loops
loglines    log lines of one turn of the loop, one write
tls         the certificate, and new ones
headers     a look at Message-ID, Subject and From for people who search
"""
