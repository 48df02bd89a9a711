"""What to do about each problem that a test finds: one table."""

from __future__ import annotations

from django.utils.translation import gettext_lazy

from delivery.routetest.steps import Problem

ADVICE = {
    Problem.NO_ADDRESS: gettext_lazy(
        "The name has no address. Check its spelling in the route, and its A or AAAA record in the DNS."
    ),
    Problem.DNS_AWAY: gettext_lazy(
        "The DNS did not answer. Check the name servers that this machine uses; other hosts fail with it."
    ),
    Problem.REFUSED: gettext_lazy(
        "The machine is there, but nothing listens on this port. Start the mail server's SMTP "
        "service, or correct the port in the route."
    ),
    Problem.SILENT: gettext_lazy(
        "No answer came in time. A firewall may drop the packets, or the machine is off or "
        "overloaded. Allow this gateway's address in the firewall, and look at the server's load."
    ),
    Problem.UNREACHABLE: gettext_lazy(
        "There is no way to this address. Check the network, the routing and the firewall between "
        "here and there."
    ),
    Problem.HUNG_UP: gettext_lazy(
        "The server cut the connection. Its log says why; often it, or a filter before it, does not "
        "accept this gateway's address."
    ),
    Problem.BUSY: gettext_lazy(
        "The server takes no mail for now: it is too busy, stopping, or limits connections. Mail "
        "waits and is tried again. If it lasts, look at the server's load and limits."
    ),
    Problem.TURNED_AWAY: gettext_lazy(
        "The server answers, but does not want to talk to this gateway. Allow the gateway's address "
        "in its receive connector, access list or block list."
    ),
    Problem.NOT_SMTP: gettext_lazy(
        "What answers here does not speak SMTP as it should. Check host and port, and what stands between."
    ),
    Problem.XCLIENT_MISSING: gettext_lazy(
        "The route names the sender's own address (XCLIENT), but the server does not offer that to this"
        " gateway, and sees ours. In Postfix put this gateway's address into smtpd_authorized_xclient_hosts."
    ),
    Problem.TLS_MISSING: gettext_lazy(
        "The server does not offer STARTTLS. Where the route requires it or signs in, no mail passes: "
        "give the server a certificate, or choose “STARTTLS when offered”. Some firewalls remove the offer."
    ),
    Problem.TLS_FAILED: gettext_lazy(
        "Encryption could not be agreed on. Check that the server has a certificate with its key, and"
        " speaks TLS 1.2 or later."
    ),
    Problem.CERTIFICATE_EXPIRED: gettext_lazy("The certificate has expired. Renew it on the mail server."),
    Problem.CERTIFICATE_EXPIRES: gettext_lazy(
        "The certificate expires soon. Renew it before it does; with “certificate verified” mail "
        "stops that day."
    ),
    Problem.CERTIFICATE_NAME: gettext_lazy(
        "The certificate is for another name. Use the name it is for in the route, or get one for this name."
    ),
    Problem.CERTIFICATE_SELF_SIGNED: gettext_lazy(
        "The server made its certificate itself. Mail is encrypted, but nobody vouches for who "
        "answers. For “certificate verified” it needs one from an authority that this machine trusts."
    ),
    Problem.CERTIFICATE_UNKNOWN: gettext_lazy(
        "This machine does not trust who issued the certificate. Install the issuer's root here, or "
        "let the server send the intermediate certificates along."
    ),
    Problem.AUTH_MISSING: gettext_lazy(
        "The route has a user name, but the server offers no sign-in. Check the port (587 is usual), "
        "or remove the user name."
    ),
    Problem.AUTH_REFUSED: gettext_lazy(
        "The server refused user name or password. Correct them in the route."
    ),
    Problem.PASSWORD_UNREADABLE: gettext_lazy(
        "This installation's SECRET_KEY has changed since the password was entered. Enter it again "
        "in the route."
    ),
    Problem.SENDER_REFUSED: gettext_lazy(
        "The server refuses the empty sender and this gateway's postmaster. It must take the empty "
        "one, or bounces are lost (RFC 5321 4.5.5): allow the gateway's address as a trusted relay."
    ),
    Problem.RELAY_REFUSED: gettext_lazy(
        "The server does not take mail for this domain from this gateway. Add the domain to those it "
        "accepts, and allow the gateway's address to deliver."
    ),
    Problem.RECIPIENT_UNKNOWN: gettext_lazy(
        "The server works, but does not know this recipient. Test with an address that exists; if it "
        "does, the server's directory is not whole."
    ),
    Problem.RECIPIENT_DEFERRED: gettext_lazy(
        "The server puts this recipient off. Greylisting passes in some minutes: exempt this gateway "
        "from it. Else the mailbox may be full or being moved."
    ),
    Problem.FULL: gettext_lazy(
        "The server has trouble of its own, such as a full disk. Make room there; mail waits here meanwhile."
    ),
    Problem.MESSAGE_REFUSED: gettext_lazy(
        "The server refused the test message itself. Look for the rule or filter that it names, and "
        "exempt this gateway from it."
    ),
    Problem.MESSAGE_DEFERRED: gettext_lazy(
        "The server did not take the test message for now. Its words say why; test again in some minutes."
    ),
    Problem.HOST_REMOVED: gettext_lazy("This host was removed from the route meanwhile. Test again."),
    Problem.OUR_FAULT: gettext_lazy(
        "The test itself failed, which says nothing of the mail server. The log of the worker has the"
        " details."
    ),
}


def advice(problem: str) -> str:
    """What a person can do, in plain sentences; empty where there is no problem."""
    return str(ADVICE[Problem(problem)]) if problem else ""
