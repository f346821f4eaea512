"""SHConfig: sentinelhub-py's settings, from arguments, environment and the profile file, with masked secrets.

Refuses to know what the settings do. Reading writes nothing; only ``save`` does.
"""

from __future__ import annotations

import copy
import json
import os
import re
import tomllib
import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, TypedDict, Unpack

from shdask.sentinelhub.exceptions import SHDeprecationWarning, SHUserWarning
from shdask.sentinelhub.files import write_whole

_DEFAULT_PROFILE = "default-profile"
_UNMASKED_CHARS = 4
_MASKED_CHARS = 10


class SHConfigFields(TypedDict, total=False):
    """The fields of SHConfig, as keyword arguments."""

    instance_id: str
    sh_client_id: str
    sh_client_secret: str
    sh_base_url: str
    sh_auth_base_url: str | None
    sh_token_url: str
    geopedia_wms_url: str
    geopedia_rest_url: str
    aws_access_key_id: str
    aws_secret_access_key: str
    aws_session_token: str
    aws_metadata_url: str
    aws_s3_l1c_bucket: str
    aws_s3_l2a_bucket: str
    opensearch_url: str
    max_wfs_records_per_query: int
    max_opensearch_records_per_query: int
    max_download_attempts: int
    download_sleep_time: float
    download_timeout_seconds: float
    number_of_download_processes: int
    max_retries: int | None


@dataclass(init=False, repr=False)
class SHConfig:
    """The settings of a request: ``SHConfig("my-profile", sh_client_id=...)``.

    Arguments win over the environment (``SH_CLIENT_ID``, ``SH_CLIENT_SECRET``), and that over the profile: ``profile``,
    else ``SH_PROFILE``, else ``default-profile`` of ``get_config_location()``. With ``use_defaults`` neither
    environment nor file is read. The object is mutable, as sentinelhub-py's is.
    Fields of services that shdask leaves out (AWS, Geopedia, OGC, OpenSearch) are kept and written, and not used.
    Raises KeyError for a profile the file does not have (the default one is not missed where there is no file),
    TypeError for an unknown field, ValueError for a file that is not TOML or a limit beyond the service's.
    """

    instance_id: str = ""
    sh_client_id: str = ""
    sh_client_secret: str = ""
    sh_base_url: str = "https://services.sentinel-hub.com"
    """Where requests go whose collections name no URL of their own."""
    sh_auth_base_url: str | None = None
    """Replaced by ``sh_token_url``."""
    sh_token_url: str = "https://services.sentinel-hub.com/auth/realms/main/protocol/openid-connect/token"  # noqa: S105  # a URL is no secret
    geopedia_wms_url: str = "https://service.geopedia.world"
    geopedia_rest_url: str = "https://www.geopedia.world/rest"
    aws_access_key_id: str = ""
    aws_secret_access_key: str = ""
    aws_session_token: str = ""
    aws_metadata_url: str = "https://roda.sentinel-hub.com"
    aws_s3_l1c_bucket: str = "sentinel-s2-l1c"
    aws_s3_l2a_bucket: str = "sentinel-s2-l2a"
    opensearch_url: str = "http://opensearch.sentinel-hub.com/resto/api/collections/Sentinel2"
    max_wfs_records_per_query: int = 100
    max_opensearch_records_per_query: int = 500
    max_download_attempts: int = 4
    """How often a request is sent that meets 5xx or a broken connection."""
    download_sleep_time: float = 5.0
    """The longest first wait between two of those, in seconds; the n-th is up to 3^(n-1) times that."""
    download_timeout_seconds: float = 120.0
    """The longest silence of the service."""
    number_of_download_processes: int = 1
    """How many processes share the account: each starts from its part of 20 requests a second."""
    max_retries: int | None = None
    """How many 429s one request may meet; None: any number."""

    CREDENTIALS: ClassVar[tuple[str, ...]] = (
        "instance_id",
        "sh_client_id",
        "sh_client_secret",
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
    )
    """The fields that are masked wherever a config is shown."""

    def __init__(
        self, profile: str | None = None, *, use_defaults: bool = False, **settings: Unpack[SHConfigFields]
    ) -> None:
        given: dict[str, Any] = dict(settings)
        unknown = given.keys() - {field.name for field in fields(self)}
        if unknown:
            raise TypeError(f"SHConfig has no field {', '.join(sorted(unknown))}")
        if not use_defaults:
            environment = {
                "sh_client_id": os.environ.get("SH_CLIENT_ID"),
                "sh_client_secret": os.environ.get("SH_CLIENT_SECRET"),
            }
            found = {name: value for name, value in environment.items() if value is not None}
            given = {**_read_profile(_profile_name(profile), self.get_config_location()), **found, **given}
        for field in fields(self):
            setattr(self, field.name, given.get(field.name, field.default))
        self._check()

    @classmethod
    def load(cls, profile: str | None = None) -> SHConfig:
        """The profile as the file has it, without the environment's credentials. Raises as the constructor does."""
        stored: dict[str, Any] = _read_profile(_profile_name(profile), cls.get_config_location())
        return cls(use_defaults=True, **stored)

    def save(self, profile: str | None = None) -> None:
        """Writes what differs from the defaults under ``profile`` of the file; other profiles stay, comments do not.

        The file holds secrets: it is replaced as a whole, readable by its owner only.
        """
        path = Path(self.get_config_location())
        tables = _read_file(path) or {}
        defaults = SHConfig(use_defaults=True).to_dict(mask_credentials=False)
        own = self.to_dict(mask_credentials=False)
        tables[_profile_name(profile)] = {name: value for name, value in own.items() if value != defaults[name]}
        write_whole(path, _toml(tables).encode(), mode=0o600)

    def copy(self) -> SHConfig:
        """Another config with the same settings. Pure."""
        return copy.copy(self)

    def to_dict(self, mask_credentials: bool = True) -> dict[str, Any]:
        """The fields by name, credentials masked but for their last letters unless told otherwise. Pure."""
        shown = {field.name: getattr(self, field.name) for field in fields(self)}
        if mask_credentials:
            shown.update({name: _mask(shown[name]) for name in self.CREDENTIALS})
        return shown

    @classmethod
    def get_config_location(cls) -> str:
        """Path of the profile file, ``config.toml`` in the user's ``sentinelhub`` config folder."""
        folder = os.environ.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
        return str(Path(folder) / "sentinelhub" / "config.toml")

    def __str__(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    def __repr__(self) -> str:
        lines = "".join(f"\n  {name}={value!r}," for name, value in self.to_dict().items())
        return f"{type(self).__name__}({lines}\n)"

    def _check(self) -> None:
        if self.sh_auth_base_url is not None:
            self.sh_token_url = f"{self.sh_auth_base_url}/oauth/token"
            warnings.warn(
                f"sh_auth_base_url is replaced by sh_token_url, which is now {self.sh_token_url}; set that instead",
                category=SHDeprecationWarning,
                stacklevel=3,
            )
        for name, most in (("max_wfs_records_per_query", 100), ("max_opensearch_records_per_query", 500)):
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most}")


def _profile_name(profile: str | None) -> str:
    return profile if profile is not None else os.environ.get("SH_PROFILE", _DEFAULT_PROFILE)


def _read_file(path: Path) -> dict[str, Any] | None:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _read_profile(profile: str, location: str) -> dict[str, Any]:
    tables = _read_file(Path(location))
    if tables is None and profile == _DEFAULT_PROFILE:
        return {}
    if tables is None or profile not in tables:
        raise KeyError(f"profile {profile!r} is not in {location}")
    known = {field.name for field in fields(SHConfig)}
    unknown = sorted(tables[profile].keys() - known)
    if unknown:
        warnings.warn(
            f"profile {profile!r} of {location} has settings that mean nothing: {', '.join(unknown)}",
            category=SHUserWarning,
            stacklevel=4,
        )
    return {name: value for name, value in tables[profile].items() if name in known}


def _mask(value: str) -> str:
    hidden = min(max(len(value) - _UNMASKED_CHARS, _MASKED_CHARS), len(value))
    return "*" * hidden + value[hidden:]


def _toml(tables: dict[str, Any]) -> str:
    """Profiles as TOML. Pure. Raises TypeError for a value that is no text, number or truth."""
    blocks = []
    for name, table in tables.items():
        lines = [f"{_toml_key(key)} = {_toml_value(value)}\n" for key, value in table.items() if value is not None]
        blocks.append(f"[{_toml_key(name)}]\n{''.join(lines)}")
    return "\n".join(blocks)


def _toml_key(name: str) -> str:
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else _toml_text(name)


def _toml_value(value: object) -> str:
    if isinstance(value, str):
        return _toml_text(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    raise TypeError(f"a profile holds text, numbers and truths, not {value!r}")


def _toml_text(text: str) -> str:
    # TOML's escapes are JSON's, but that it wants DEL escaped too
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
