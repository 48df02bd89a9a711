"""Settings, all from the environment or `.env`.

`.env.example` lists every name with its meaning and default; `continuity_site.checks` stops the start
when a value cannot work.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import django_stubs_ext
from csp.constants import NONE, SELF

from continuity_site import embedded_redis
from continuity_site.environment import Environment
from continuity_site.languages import languages

django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent

env = Environment()
Environment.read_env(str(BASE_DIR / ".env"))

# --- Where things are -------------------------------------------------------------------------------
DATA_DIR = Path(env.str("DATA_DIR", default="") or BASE_DIR / "var").resolve()
WEB_PORT = env.int("WEB_PORT", default=8000)
SMTP_PORT = env.int("SMTP_PORT", default=2525)
SUBMISSION_PORT = env.int("SUBMISSION_PORT", default=0)
BIND_ADDRESS = env.str("BIND_ADDRESS", default="127.0.0.1")
BASE_URL = (env.str("BASE_URL", default="") or f"http://127.0.0.1:{WEB_PORT}").rstrip("/")
GATEWAY_NAME = env.str("GATEWAY_NAME", default="continuity.localhost")
DEMO = env.bool("DEMO", default=False)
DEMO_SMTP_PORT = env.int("DEMO_SMTP_PORT", default=2526)

# --- The gateway: what it takes from clients. docs/gateway.md says what each limit is for --------------
SIZE_LIMIT = env.int("SIZE_LIMIT", default=52_428_800)  # bytes
BARE_LF = env.one_of("BARE_LF", "normalise", ("normalise", "refuse"))
TLS_CERTIFICATE = env.str("TLS_CERTIFICATE", default="")
TLS_KEY = env.str("TLS_KEY", default="")
GATEWAY_MEMORY = env.int("GATEWAY_MEMORY", default=67_108_864)  # bytes
GATEWAY_RECIPIENTS = env.int("GATEWAY_RECIPIENTS", default=1000)
GATEWAY_CONNECTIONS = env.int("GATEWAY_CONNECTIONS", default=1000)
GATEWAY_CONNECTIONS_PER_ADDRESS = env.int("GATEWAY_CONNECTIONS_PER_ADDRESS", default=100)
GATEWAY_COMMANDS = env.int("GATEWAY_COMMANDS", default=10_000)
GATEWAY_ERRORS = env.int("GATEWAY_ERRORS", default=50)
GATEWAY_IDLE_SECONDS = env.int("GATEWAY_IDLE_SECONDS", default=300)
AUTHENTICATE = env.bool("AUTHENTICATE", default=True)
TRUSTED_NETWORKS = env.list(
    "TRUSTED_NETWORKS",
    default=["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1", "fc00::/7", "fe80::/10"],
)

# --- DNS, and mail to other organisations -------------------------------------------------------------
DNS_SERVERS = env.list("DNS_SERVERS", default=[])
MX_PORT = env.int("MX_PORT", default=25)

# --- Django -----------------------------------------------------------------------------------------
SECRET_KEY = env.str("SECRET_KEY", default="")
if not SECRET_KEY:
    from continuity_site.secret import secret_key

    SECRET_KEY = secret_key(DATA_DIR)
DEBUG = env.bool("DEBUG", default=False)
_secure = BASE_URL.startswith("https://")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS = [BASE_URL] if _secure else []

INSTALLED_APPS = [
    "continuity_site",
    "inbox",
    "events",
    "notifications",
    "monitoring",
    "delivery",
    "accounts",
    "accounts.platform_app.PlatformAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_rq",
    "phonenumber_field",
    "csp",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "continuity_site.middleware.AccountMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "continuity_site.urls"
WSGI_APPLICATION = "continuity_site.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "continuity_site.context.console",
            ],
        },
    },
]
AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "dashboard"
LOGOUT_REDIRECT_URL = "sign-in"
PASSWORD_CHARACTERS = 12
AUTH_PASSWORD_VALIDATORS: list[dict[str, Any]] = [
    {"NAME": f"django.contrib.auth.password_validation.{name}", "OPTIONS": options}
    for name, options in (
        ("UserAttributeSimilarityValidator", {}),
        ("MinimumLengthValidator", {"min_length": PASSWORD_CHARACTERS}),
        ("CommonPasswordValidator", {}),
        ("NumericPasswordValidator", {}),
    )
]
SESSION_ENGINE = "accounts.signin.sessions"
OTP_TOTP_ISSUER = "Continuity"

# --- Sign-in by an OpenID Connect provider: docs/sign-in.md ---------------------------------------------
OIDC_ISSUER = env.str("OIDC_ISSUER", default="")
OIDC_CLIENT_ID = env.str("OIDC_CLIENT_ID", default="")
OIDC_CLIENT_SECRET = env.str("OIDC_CLIENT_SECRET", default="")
OIDC_NAME = env.str("OIDC_NAME", default="") or "single sign-on"

# --- Lock-out on guessed passwords and codes: docs/sign-in.md ------------------------------------------
SIGN_IN_FAILURES = env.int("SIGN_IN_FAILURES", default=5)
SIGN_IN_LOCK_MINUTES = env.int("SIGN_IN_LOCK_MINUTES", default=15)
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
# By name and address together: a stranger who knows a name locks out only their own address.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = SIGN_IN_FAILURES
AXES_COOLOFF_TIME = timedelta(minutes=SIGN_IN_LOCK_MINUTES)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_CLIENT_IP_CALLABLE = "accounts.client.client_address"
AXES_LOCKOUT_TEMPLATE = "accounts/locked.html"
# What people type by mistake is kept nowhere. Who signs in is in our own audit.
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "code", "password", "csrfmiddlewaretoken"]
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

# --- Database: SQLite unless DATABASE_URL says PostgreSQL ----------------------------------------------
DATABASES: dict[str, dict[str, Any]] = {
    "default": env.database("DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'continuity.sqlite3'}")
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # auto_vacuum counts only before the first table, hence first. FULL: a 250 means "on disk".
        "init_command": (
            "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
            "PRAGMA wal_autocheckpoint=4000; PRAGMA cache_size=-16000;"
        ),
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = env.int("DATABASE_CONN_MAX_AGE", default=60)
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True

# --- Jobs -------------------------------------------------------------------------------------------
# Embedded Redis listens on a private socket only.
EMBEDDED_REDIS = not env.str("REDIS_URL", default="")
REDIS_URL = env.str("REDIS_URL", default="") or f"unix://{embedded_redis.socket_path(DATA_DIR)}"
REDIS_AWAY_SECONDS = env.int("REDIS_AWAY_SECONDS", default=30)

# --- Called once a minute while monitoring runs ---------------------------------------------------
HEARTBEAT_URL = env.str("HEARTBEAT_URL", default="")

# --- What /healthz says of the disk -------------------------------------------------------------------
DISK_DEGRADED_MB = env.int("DISK_DEGRADED_MB", default=2000)
DISK_FAILED_MB = env.int("DISK_FAILED_MB", default=200)
if REDIS_URL.startswith("redis") and "socket_connect_timeout" not in REDIS_URL:
    # A Redis that does not answer may hold up a request for 3 seconds, not for minutes.
    REDIS_URL += ("&" if "?" in REDIS_URL else "?") + "socket_connect_timeout=3"
RQ_QUEUES = {
    name: {"URL": REDIS_URL, "DEFAULT_TIMEOUT": seconds}
    for name, seconds in (("alerts", 180), ("checks", 180), ("bulk", 3600))
}
RQ = {"COMMIT_MODE": "on_db_commit"}

# --- Alerts leave by their own relay, never by a monitored route -----------------------------------------
ALERT_EMAIL_URL = env.str("ALERT_EMAIL_URL", default="")
ALERT_FROM = env.str("ALERT_FROM", default="Continuity <continuity@localhost>")
ALERT_SMS_URL = env.str("ALERT_SMS_URL", default="")
WEBHOOK_NETWORKS = env.list("WEBHOOK_NETWORKS", default=[])

# --- Pages ------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
LOCALE_PATHS = [BASE_DIR / "locale"]
LANGUAGES = languages(LOCALE_PATHS[0], LANGUAGE_CODE)
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True  # served from where they are: nothing to collect after an update
PHONENUMBER_DEFAULT_FORMAT = "E164"

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _secure
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 60 * 60 * 12
SECURE_HSTS_SECONDS = 31536000 if _secure else 0
# Subdomains and preload lists are the domain owner's to decide; redirecting to HTTPS is the proxy's part.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021", "security.W008"]
SECURE_PROXY_SSL_HEADER = (
    ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_PROXY", default=False) else None
)

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "filters": {"tokens": {"()": "events.logs.RedactTokens"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["tokens"]}},
    "root": {"handlers": ["stderr"], "level": env.one_of("LOG_LEVEL", "INFO", LOG_LEVELS)},
    # A line for every job is too much; what django-axes says is in our own audit.
    "loggers": {"rq": {"level": "WARNING"}, "axes": {"level": "ERROR"}},
}
