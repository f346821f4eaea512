"""Deployments, credentials and settings, read once from arguments, environment and profile; frozen, secrets masked.

Refuses to know how a token is fetched or a request is sent.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from shdask.errors import AuthError, SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What a deployment charges, in processing units, as the service documents it (page "Processing unit")."""

    px_per_pu: float = 512 * 512
    bands_per_pu: float = 3
    """So many pixels of so many input bands at up to 16 bit are one unit."""
    min_area: float = 0.01
    """An area counts for at least this share of ``px_per_pu``."""
    min_request_pu: float = 0.005
    float_factor: float = 2.0
    """For a TIFF of 32 bit floats."""
    async_min_pu: float = 10.0
    """Of an Async Process request."""
    async_factor: float = 1.0
    """Pages differ on a discount of a third for Async Process: none, until this account is known to get it."""
    catalog_km2_per_pu: float = 1_000_000.0
    """A search of so much ground and one month is one unit."""
    catalog_min_area: float = 0.01
    """Ground counts for at least this share of it."""
    catalog_min_pu: float = 0.01
    catalog_max_pu: float = 1.0


PUBLISHED_PRICES = Prices()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One installation of the service: where it is and what is known of its limits."""

    name: str
    base_url: str
    token_url: str
    process_path: str = "/api/v1/process"
    catalog_path: str = "/api/v1/catalog/1.0.0"
    """All deployments have this family of paths; ``/catalog/v1`` is the newer one, not known to be everywhere."""
    requests_per_minute: float = 300.0
    """The smallest published plan's rate, until the account's own is given."""
    pu_per_minute: float = 300.0
    requests_per_month: float | None = 30_000.0
    """As the rates, the smallest published plan's; None where there is no quota."""
    pu_per_month: float | None = 30_000.0
    requests_guessed: bool = False
    """Nobody has said what this rate of the account is: more is used where more is granted, as in the largest plan."""
    pu_guessed: bool = False
    bucket_s: float | None = None
    """Seconds of the rates that the service lets pass at once after a rest. None: found out, from one request on."""
    prices: Prices = PUBLISHED_PRICES
    retry_after_unit_s: float = 0.001
    """Length of one ``Retry-After`` unit in seconds; documented as milliseconds."""
    retry_after_max_s: float = 60.0
    """An advice longer than this is taken for a wrong unit and cut."""
    max_request_px: int = 2500
    """Longest side of one Process request in pixels."""
    async_path: str = "/api/v1/async/process"
    max_async_px: int = 10_000
    """Longest side of one Async Process request in pixels (documentation page "Async Process")."""
    async_job_minutes: float = 5.0
    """How long a large job takes from its order to its files. Unconfirmed: a guess, until runs have shown it."""
    async_concurrency: int = 5
    """Jobs that an account may run at once. Unconfirmed: a limit is documented, its figure is not."""


def _services(name: str, host: str) -> Deployment:
    return Deployment(
        name=name,
        base_url=f"https://{host}",
        token_url="https://services.sentinel-hub.com/auth/realms/main/protocol/openid-connect/token",
        requests_guessed=True,
        pu_guessed=True,
    )


DEPLOYMENTS: Mapping[str, Deployment] = {
    "services": _services("services", "services.sentinel-hub.com"),
    "services-uswest2": _services("services-uswest2", "services-uswest2.sentinel-hub.com"),
    "creodias": _services("creodias", "creodias.sentinel-hub.com"),
    "cdse": Deployment(
        name="cdse",
        base_url="https://sh.dataspace.copernicus.eu",
        token_url="https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/openid-connect/token",
        requests_per_month=10_000.0,
        pu_per_month=10_000.0,
        requests_guessed=True,
        pu_guessed=True,
    ),
}


def make_deployment(
    name: str = "services",
    *,
    base_url: str | None = None,
    token_url: str | None = None,
    requests_per_minute: float | None = None,
    pu_per_minute: float | None = None,
    requests_per_month: float | None = None,
    pu_per_month: float | None = None,
    bucket_s: float | None = None,
    environ: Mapping[str, str] | None = None,
) -> Deployment:
    """The deployment called ``name``, changed by what is given; ``SH_BASE_URL`` and ``SH_TOKEN_URL`` win over both.

    Raises SettingsError for an unknown name, for a base URL without its token URL, and for plain http
    to a host that is neither this machine nor named in ``SHDASK_ALLOW_HTTP``.
    """
    env = os.environ if environ is None else environ
    if name not in DEPLOYMENTS:
        raise SettingsError(f"deployment {name!r} is not known; choose one of {', '.join(DEPLOYMENTS)}")
    known = DEPLOYMENTS[name]
    base = env.get("SH_BASE_URL") or base_url
    token = env.get("SH_TOKEN_URL") or token_url
    if base and not token and _host(base) != _host(known.base_url):
        raise SettingsError(f"base_url is {base} but no token_url is set; set SH_TOKEN_URL (or token_url) too")
    places = {
        "base_url": "SH_BASE_URL" if env.get("SH_BASE_URL") else "base_url",
        "token_url": "SH_TOKEN_URL" if env.get("SH_TOKEN_URL") else "token_url",
    }
    changes: dict[str, object] = {
        "base_url": (base or known.base_url).rstrip("/"),
        "token_url": token or known.token_url,
    }
    if base and _host(base) != _host(known.base_url):
        changes["name"] = "custom"
    limits = {
        "requests_per_minute": requests_per_minute,
        "pu_per_minute": pu_per_minute,
        "requests_per_month": requests_per_month,
        "pu_per_month": pu_per_month,
        "bucket_s": bucket_s,
    }
    changes |= {name: float(limit) for name, limit in limits.items() if limit is not None}
    changes |= {"requests_guessed": requests_per_minute is None, "pu_guessed": pu_per_minute is None}
    deployment = replace(known, **changes)  # type: ignore[arg-type]  # a dict of mixed fields
    _check_url(deployment.base_url, places["base_url"], env)
    _check_url(deployment.token_url, places["token_url"], env)
    return deployment


def may_use_plain_http(host: str, environ: Mapping[str, str]) -> bool:
    """Whether ``host`` is this machine, or named in ``SHDASK_ALLOW_HTTP`` (hosts, separated by commas). Pure."""
    allowed = {name.strip() for name in environ.get("SHDASK_ALLOW_HTTP", "").split(",")} - {""}
    return host in allowed or _is_loopback(host)


def _host(url: str) -> str:
    """The host, or nothing where there is none to be found."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _check_url(url: str, place: str, environ: Mapping[str, str]) -> None:
    host = _host(url)
    if not host:
        raise SettingsError(f"{place}: {url!r} is not a URL of the service; write it as https://host")
    parts = urlsplit(url)
    if "@" in parts.netloc:  # it would stand in the cube's attributes and in messages
        raise SettingsError(
            f"{place}: the URL of {host} holds a user name; give it without, and the secret as SH_CLIENT_SECRET"
        )
    if parts.scheme == "https":
        return
    if parts.scheme != "http":
        raise SettingsError(f"{place}: {url!r} is not a URL of the service; write it as https://host")
    is_known = host in {_host(d.base_url) for d in DEPLOYMENTS.values()}
    if not is_known and may_use_plain_http(host, environ):
        return
    cure = "" if is_known else ", or name the host in SHDASK_ALLOW_HTTP if that is what you want"
    raise SettingsError(
        f"{place}: {url} is plain http: credentials would cross the network unencrypted. Use https{cure}"
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An OAuth client. The secret is in no repr, and the object refuses to be pickled."""

    client_id: str
    client_secret: str = field(repr=False)

    def __reduce__(self) -> NoReturn:
        raise TypeError("Credentials do not travel: workers get short-lived tokens instead")

    @classmethod
    def load(
        cls,
        client_id: str | None = None,
        client_secret: str | None = None,
        *,
        profile: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Credentials:
        """Credentials from arguments, else ``SH_CLIENT_ID``/``SH_CLIENT_SECRET``, else the profile file.

        The profile is ``profile``, else ``SH_PROFILE``, else ``default-profile`` of
        ``sentinelhub/config.toml`` in the user's config folder; the file is only read, and only where it is needed.
        Raises AuthError when nothing is found, SettingsError when the file cannot be read or is not TOML.
        """
        found = cls.find(client_id, client_secret, profile=profile, environ=environ)
        if found is None:
            raise AuthError(
                "no credentials: set SH_CLIENT_ID and SH_CLIENT_SECRET (an OAuth client from your account's "
                "dashboard), or try everything without an account: shdask demo"
            )
        return found

    @classmethod
    def find(
        cls,
        client_id: str | None = None,
        client_secret: str | None = None,
        *,
        profile: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Credentials | None:
        """As `load`, but None when nothing is found: a scheduler may have some of its own."""
        env = os.environ if environ is None else environ
        found_id: object = client_id or env.get("SH_CLIENT_ID")
        found_secret: object = client_secret or env.get("SH_CLIENT_SECRET")
        if not found_id or not found_secret:
            stored = _read_profile(profile or env.get("SH_PROFILE") or "default-profile", env)
            found_id = found_id or stored.get("sh_client_id")
            found_secret = found_secret or stored.get("sh_client_secret")
        if not found_id or not found_secret:
            return None
        return cls(client_id=str(found_id), client_secret=str(found_secret))


@contextmanager
def keep_secret_from_children() -> Iterator[None]:
    """Take ``SH_CLIENT_SECRET`` out of the environment for a block, so that no process started in it inherits it.

    For programs of ours: another thread that looks for credentials meanwhile does not find them.
    """
    secret = os.environ.pop("SH_CLIENT_SECRET", None)
    try:
        yield
    finally:
        if secret is not None:
            os.environ["SH_CLIENT_SECRET"] = secret


def _read_profile(name: str, env: Mapping[str, str]) -> dict[str, object]:
    home = env.get("HOME") or os.path.expanduser("~")  # noqa: PTH111  # Path.home() fails for a user without one
    path = Path(env.get("XDG_CONFIG_HOME") or Path(home, ".config"), "sentinelhub", "config.toml")
    try:
        with path.open("rb") as file:
            table = tomllib.load(file).get(name, {})
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    return dict(table) if isinstance(table, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a run needs to know besides the job: the deployment and, in the owner process only, the credentials."""

    deployment: Deployment
    credentials: Credentials | None = None

    @classmethod
    def load(
        cls,
        deployment: Deployment | None = None,
        *,
        profile: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Settings:
        """Settings from the environment and profile. Raises as ``make_deployment`` and ``Credentials.load`` do."""
        return cls(
            deployment=deployment or make_deployment(environ=environ),
            credentials=Credentials.load(profile=profile, environ=environ),
        )
