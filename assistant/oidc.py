"""An OpenID Connect provider that agents sign in with: authorization code flow with PKCE, state and nonce.

Nothing is kept between the two halves here: whoever begins keeps what `Begun` says and gives it back.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from assistant.errors import NotReady, Unauthenticated, Unavailable
from assistant.settings import Settings

_SECONDS = 10.0
_SCOPE = "openid email profile groups"
# Signatures by a private key of the provider: never by the client's secret, never none.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
_LEEWAY = 60  # seconds by which the clocks may differ
_NOT_VALID = "The answer of the sign-in provider is not valid. Begin again."


@dataclass(frozen=True)
class Begun:
    """``url`` leads to the provider. The rest is the browser's that was sent there."""

    url: str
    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True)
class Person:
    """Who has signed in there. ``subject`` is their account for good: the issuer, a blank and its ``sub`` there.
    ``email`` is None unless the provider has verified it."""

    subject: str
    email: str | None
    groups: frozenset[str]


class Provider:
    """The one that the settings name. Thread-safe: nothing is kept."""

    def __init__(self, settings: Settings, redirect_uri: str) -> None:
        """Raises `NotReady` if none is configured, or the extra `oidc` is not installed."""
        if settings.oidc_issuer is None or settings.oidc_client_id is None:
            raise NotReady("No sign-in provider is configured. Set ASSISTANT_OIDC_ISSUER.")
        try:
            import authlib  # noqa: F401
        except ImportError as error:
            raise NotReady("ASSISTANT_OIDC_ISSUER needs the extra oidc. Install it, and restart.") from error
        self._issuer, self._client_id = settings.oidc_issuer, settings.oidc_client_id
        secret = settings.oidc_client_secret
        self._secret = secret.get_secret_value() if secret is not None else None
        self._groups_claim, self._redirect_uri = settings.oidc_groups_claim, redirect_uri

    def check(self) -> None:
        """Raises `Unavailable` unless the provider says who it is."""
        self._metadata()

    def begin(self) -> Begun:
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        url = prepare_grant_uri(
            self._metadata()["authorization_endpoint"],
            self._client_id,
            "code",
            redirect_uri=self._redirect_uri,
            scope=_SCOPE,
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
        )
        return Begun(url, state, nonce, verifier)

    def finish(self, begun: Mapping[str, str], answer: Mapping[str, str]) -> Person:
        """``begun``: state, nonce and verifier. ``answer``: what the provider sent the browser back with.

        Raises `Unauthenticated` if the answer is another one's, or forged, `Unavailable` if the provider is away."""
        if not secrets.compare_digest(answer.get("state", "").encode(), begun.get("state", "").encode()):
            raise Unauthenticated(_NOT_VALID)
        if answer.get("iss", self._issuer) != self._issuer or not begun.get("state"):
            raise Unauthenticated(_NOT_VALID)
        if "code" not in answer:
            raise Unauthenticated("The sign-in provider did not let you in.")
        metadata = self._metadata()
        tokens = self._exchange(metadata, answer["code"], begun["verifier"])
        claims = self._claims(metadata, tokens, begun["nonce"])
        if "userinfo_endpoint" in metadata and not {"email", self._groups_claim} <= claims.keys():
            headers = {"Authorization": f"Bearer {tokens.get('access_token', '')}"}
            more = _asked("GET", metadata["userinfo_endpoint"], headers=headers)
            if more.get("sub") != claims["sub"]:
                raise Unauthenticated(_NOT_VALID)
            claims = more | claims
        return self._person(claims)

    def _person(self, claims: Mapping[str, Any]) -> Person:
        email, groups = claims.get("email"), claims.get(self._groups_claim)
        is_verified = isinstance(email, str) and claims.get("email_verified") is True
        named = groups if isinstance(groups, list) else []
        subject = f"{self._issuer} {claims['sub']}"
        return Person(subject, str(email) if is_verified else None, frozenset(str(one) for one in named))

    def _metadata(self) -> dict[str, Any]:
        found = _asked("GET", f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        if found.get("issuer") != self._issuer or not all(isinstance(found.get(one), str) for one in needed):
            raise _away("it does not describe itself as ASSISTANT_OIDC_ISSUER says")
        return found

    def _exchange(self, metadata: Mapping[str, Any], code: str, verifier: str) -> dict[str, Any]:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self._redirect_uri}
        form |= {"code_verifier": verifier, "client_id": self._client_id}
        auth = (self._client_id, self._secret) if self._secret is not None else None
        methods = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if self._secret is not None and "client_secret_basic" not in methods:
            form, auth = form | {"client_secret": self._secret}, None
        return _asked("POST", metadata["token_endpoint"], data=form, auth=auth)

    def _claims(self, metadata: Mapping[str, Any], tokens: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """Of the ID token, once signature, issuer, audience, time and nonce are right."""
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        options: dict[str, Any] = {
            "iss": {"essential": True, "value": self._issuer},
            "aud": {"essential": True, "value": self._client_id},
        }
        given = {"nonce": nonce, "client_id": self._client_id, "access_token": tokens.get("access_token")}
        try:
            keys = KeySet.import_key_set(_asked("GET", metadata["jwks_uri"]))  # type: ignore[arg-type]
            token = jwt.decode(str(tokens.get("id_token", "")), keys, algorithms=_ALGORITHMS)
            claims = CodeIDToken(token.claims, token.header, options, given)
            claims.validate(leeway=_LEEWAY)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise Unauthenticated(_NOT_VALID) from error
        return dict(claims)


def _asked(method: str, url: str, **options: Any) -> dict[str, Any]:
    try:
        answer = httpx.request(method, url, timeout=_SECONDS, **options)
        found = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise _away(type(error).__name__) from error
    if answer.status_code in (400, 401, 403):
        raise Unauthenticated(_NOT_VALID)
    if answer.status_code != 200 or not isinstance(found, dict):
        raise _away(f"it answered {answer.status_code}")
    return found


def _away(why: str) -> Unavailable:
    return Unavailable(f"The sign-in provider cannot be asked now: {why}. Try again.", cause="oidc")
