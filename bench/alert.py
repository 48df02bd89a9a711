"""From the window that trips to the provider that has the first alert: `python -m bench.alert`.

`manage.py up` runs everything, with its clock, its workers and its Redis; the mail server is away; the SMS
provider is a real HTTP server that speaks as Twilio does. The time is from the end of the window that opened
the outage until the provider's answer.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from datetime import UTC, datetime

from bench.support import Database, arguments, free_port, listens, load, postgres_ends, wait_until, workshop
from tests.support.sms_provider import sms_provider

TARGET = 3.0  # seconds
TRIPPED = (
    'SELECT max(w."end"), max(o.opened_at),'
    " (SELECT max(created_at) FROM notifications_notification),"
    " (SELECT max(started_at) FROM notifications_attempt) FROM monitoring_outage o"
    " JOIN monitoring_window w ON w.monitor_id = o.monitor_id"
    ' WHERE w."end" <= o.opened_at AND o.id = (SELECT max(id) FROM monitoring_outage)'
)


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    print(f"Seconds from the end of the window that trips until the provider has the alert, {load()}")
    print(f"{'':12}{'judged':>10}{'decided':>10}{'begun':>10}{'provider has it':>18}")
    with workshop() as processes, contextlib.ExitStack() as ending:
        ending.enter_context(postgres_ends(processes))
        for kind in ("sqlite", "postgres"):
            with sms_provider() as provider:
                provider.answer_as_twilio()
                database = Database(processes, f"bench_{kind}", kind)
                port = free_port()
                ours = {"REDIS_URL": "", "ALERT_SMS_URL": provider.twilio_url, "DEMO": "0"}
                ports = {"WEB_PORT": str(port), "SMTP_PORT": str(free_port())}
                up = processes.manage(f"{kind}-up", "up", **database.environment | ours | ports)
                wait_until(lambda: listens(port), "the installation is up", 60)  # noqa: B023
                took = []
                for number in range(options.rounds):
                    provider.got.clear()
                    database.run("-m", "bench.alert_start", f"Mail server {number}")
                    if not provider.got.wait(60):
                        raise SystemExit(f"No alert came:\n{up.log()[-3000:]}")
                    at = time.time()
                    wait_until(lambda: database.execute(TRIPPED)[0][0], "the outage is open")  # noqa: B023
                    ended, *steps = (_instant(value) for value in database.execute(TRIPPED)[0])
                    took.append(at - ended)
                    print(kind.ljust(12) + "".join(f"{step - ended:>10.2f}" for step in steps), end="")
                    print(f"{took[-1]:>18.2f}")
                up.stop()
                print(f"{kind:12}{'median':>30}{statistics.median(took):>18.2f}  (target: under {TARGET:g})")


def _instant(value: object) -> float:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


if __name__ == "__main__":
    main()
