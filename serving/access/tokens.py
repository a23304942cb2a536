"""Bearer tokens of an identity provider (OpenID Connect): signed by keys that it publishes, read from a JWKS address.

Only asymmetric algorithms are taken: a public key must never do as a shared secret. The published keys are kept in
memory and looked at again now and then, and at once when a token names one that is not known.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.error import URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from pipelines.errors import AccessError
from pipelines.sections import Oidc
from serving.access import clock
from serving.access.scopes import SCOPES, Access
from serving.logs import event

if TYPE_CHECKING:
    from jwt import PyJWK

LOOK_AGAIN_SECONDS = 10.0
_MOST_BYTES = 1_000_000
_TIMEOUT_SECONDS = 5.0
_MOST_VERIFIED = 10_000
EVERYWHERE = "*"


def is_token(bearer: str) -> bool:
    """Whether a bearer is a token: three parts; our keys have two."""
    return bearer.count(".") == 2


class _Verified(NamedTuple):
    access: Access
    expires_at: float


class Issuer:
    """An identity provider whose tokens are taken.

    Args:
        settings: Who it is and what its tokens say.

    Raises:
        AccessError: PyJWT is not installed.
    """

    def __init__(self, settings: Oidc) -> None:
        try:
            import jwt
        except ModuleNotFoundError as error:
            raise AccessError("serving.oidc needs PyJWT.", remedy="pip install 'purvey[oidc]'") from error
        self._jwt = jwt
        self._settings = settings
        self._keys: dict[str, PyJWK] = {}
        self._verified: dict[str, _Verified] = {}
        self._looked_at = -LOOK_AGAIN_SECONDS
        self._looking = asyncio.Lock()

    def access_of(self, token: str) -> Access | None:
        """What a token allows, None when it is not valid here and now."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        known = self._verified.get(digest)
        if known is None:
            known = self._verify(token)
            if known is None:
                return None
            if len(self._verified) >= _MOST_VERIFIED:
                self._verified.clear()
            self._verified[digest] = known
        return known.access if clock.now() < known.expires_at + self._settings.leeway_seconds else None

    async def look_again_for(self, authorization: str) -> None:
        """Read the published keys again when a token names one that is not known; not more often than every 10 s."""
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not is_token(token) or self._kid(token) in self._keys:
            return
        async with self._looking:  # who comes while they are read waits for them
            if self._kid(token) not in self._keys and time.monotonic() - self._looked_at >= LOOK_AGAIN_SECONDS:
                await self._look()

    async def refresh(self) -> None:
        """Read the published keys; when they cannot be read, those known stay."""
        async with self._looking:
            await self._look()

    async def _look(self) -> None:
        self._looked_at = time.monotonic()
        try:
            self._keys = await asyncio.to_thread(self._published)
            self._verified = {}
        except (OSError, URLError, ValueError, self._jwt.PyJWTError) as error:
            event("oidc keys cannot be read", error=type(error).__name__)

    async def watch(self) -> None:
        """Refresh for ever, beside the requests."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._settings.refresh_minutes * 60)

    def _published(self) -> dict[str, PyJWK]:
        asking = Request(self._settings.jwks_url, headers={"Accept": "application/json"})
        with build_opener(_NoRedirects).open(asking, timeout=_TIMEOUT_SECONDS) as answer:
            body = answer.read(_MOST_BYTES)
        keys = self._jwt.PyJWKSet.from_json(body.decode()).keys
        return {key.key_id: key for key in keys if key.key_id and key.public_key_use in {None, "sig"}}

    def _kid(self, token: str) -> str | None:
        with suppress(self._jwt.PyJWTError):
            kid = self._jwt.get_unverified_header(token).get("kid")
            return kid if isinstance(kid, str) else None
        return None

    def _verify(self, token: str) -> _Verified | None:
        key = self._keys.get(self._kid(token) or "")
        if key is None:
            return None
        try:
            claims = self._jwt.decode(
                token,
                key,
                algorithms=self._settings.algorithms,
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=self._settings.leeway_seconds,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (self._jwt.PyJWTError, ValueError, TypeError):
            return None
        return _Verified(self._access(claims), float(claims["exp"]))

    def _access(self, claims: dict[str, Any]) -> Access:
        who = hashlib.sha256(f"{claims['iss']} {claims['sub']}".encode()).hexdigest()[:10]
        scopes = frozenset(_texts(claims.get(self._settings.scopes_claim))) & SCOPES.keys()
        if self._settings.locations_claim is None:
            return Access(f"id{who}", str(claims["sub"]), scopes)
        places = frozenset(_texts(claims.get(self._settings.locations_claim), whole=True))
        return Access(f"id{who}", str(claims["sub"]), scopes, None if EVERYWHERE in places else places)


class _NoRedirects(HTTPRedirectHandler):
    """Keys come from the address that was configured, from no other."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""
        return


def _texts(claim: Any, *, whole: bool = False) -> Iterable[str]:
    """A claim as texts: a list of them, or one text, at its blanks unless it is `whole`."""
    if isinstance(claim, str):
        return [claim] if whole else claim.split()
    return [one for one in claim if isinstance(one, str)] if isinstance(claim, list) else []
