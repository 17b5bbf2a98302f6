"""Tokens: what is accepted, and that each kind of bad token gets the error that names it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from reference_server.tokens.token import (
    BadSignature,
    ExpiredToken,
    KeysUnavailable,
    MalformedToken,
    MissingClaims,
    NotYetValidToken,
    TokenError,
    UnsupportedAlgorithm,
)
from reference_server.tokens.verifier import TokenVerifier

SECRET = "a-project-secret-that-is-long-enough-for-any-hmac-up-to-sha-512-bits"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def claims(**changes: Any) -> dict[str, Any]:
    return {"role": "authenticated", "sub": "user-1", "exp": int(time.time()) + 600, **changes}


def jwk(kid: str, key: Any) -> dict[str, Any]:
    names = {rsa.RSAPrivateKey: "RS256", ed25519.Ed25519PrivateKey: "EdDSA"}
    algorithm = jwt.get_algorithm_by_name(
        next((name for kind, name in names.items() if isinstance(key, kind)), "ES256")
    )
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid}


JWKS = {"keys": [jwk("rsa-1", RSA_KEY), jwk("ec-1", EC_KEY), jwk("ed-1", ED_KEY)]}


def unsigned(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_accepts_tokens_of_the_secret(algorithm: str) -> None:
    token = await TokenVerifier(SECRET).verify(jwt.encode(claims(), SECRET, algorithm))
    assert (token.role, token.subject) == ("authenticated", "user-1")


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(RSA_KEY, "RS256", "rsa-1"), (EC_KEY, "ES256", "ec-1"), (ED_KEY, "EdDSA", "ed-1")],
)
async def test_accepts_tokens_of_the_key_set(key: Any, algorithm: str, kid: str) -> None:
    verifier = TokenVerifier(SECRET, jwks=JWKS)
    assert (await verifier.verify(jwt.encode(claims(), key, algorithm, headers={"kid": kid}))).role == "authenticated"


async def test_a_secret_token_with_an_unknown_kid_falls_back_to_the_secret() -> None:
    token = jwt.encode(claims(), SECRET, "HS256", headers={"kid": "legacy"})
    assert (await TokenVerifier(SECRET, jwks=JWKS).verify(token)).subject == "user-1"


async def test_numbers_may_have_decimals() -> None:
    exp = time.time() + 60.5
    token = await TokenVerifier(SECRET).verify(jwt.encode(claims(exp=exp, iat=exp - 90.25), SECRET))
    assert token.expires_at == pytest.approx(exp)


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ({"role": None}, MissingClaims),
        ({"role": 5}, MissingClaims),
        ({"role": ""}, MissingClaims),
        ({"exp": None}, MissingClaims),
        ({"exp": "4102444800"}, MissingClaims),
        ({"exp": True}, MissingClaims),
        ({"exp": float("nan")}, MissingClaims),
        ({"iat": "yesterday"}, MissingClaims),
        ({"exp": 1}, ExpiredToken),
        ({"nbf": 4102444800}, NotYetValidToken),
    ],
)
async def test_bad_claims_are_named(payload: dict[str, Any], error: type[TokenError]) -> None:
    with pytest.raises(error):
        await TokenVerifier(SECRET).verify(jwt.encode(claims(**payload), SECRET))


async def test_the_issuers_clock_may_be_half_a_minute_ahead() -> None:
    now = time.time()
    verifier = TokenVerifier(SECRET, clock=lambda: now)
    assert (await verifier.verify(jwt.encode(claims(nbf=now + 29), SECRET))).role == "authenticated"
    with pytest.raises(NotYetValidToken):
        await verifier.verify(jwt.encode(claims(nbf=now + 31), SECRET))


async def test_an_expired_token_says_since_when() -> None:
    now = time.time()
    with pytest.raises(ExpiredToken) as caught:
        await TokenVerifier(SECRET, clock=lambda: now).verify(jwt.encode(claims(exp=int(now) - 100), SECRET))
    assert caught.value.seconds_ago == 100
    assert caught.value.message == "Token has expired 100 seconds ago"


PUBLIC_PEM = RSA_KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def hmac_of_public_key() -> str:
    """The classic confusion: HS256 with the public key's text as the secret."""
    key = jwt.get_algorithm_by_name("HS256")
    head = unsigned({"alg": "HS256", "typ": "JWT", "kid": "rsa-1"}, claims()).rsplit(".", 1)[0]
    signature = key.sign(head.encode(), PUBLIC_PEM)
    return head + "." + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: unsigned({"alg": "none"}, claims()), UnsupportedAlgorithm),
        (lambda: unsigned({"alg": "None"}, claims()), UnsupportedAlgorithm),
        (lambda: unsigned({"alg": "HS256"}, claims()), BadSignature),
        (lambda: unsigned({"alg": ["HS256"]}, claims()), MalformedToken),
        (lambda: unsigned({"typ": "JWT"}, claims()), MalformedToken),
        (hmac_of_public_key, BadSignature),
        (lambda: jwt.encode(claims(), RSA_KEY, "RS256", headers={"kid": "ec-1"}), BadSignature),
        (lambda: jwt.encode(claims(), RSA_KEY, "RS512", headers={"kid": "rsa-1"}), BadSignature),
        (lambda: jwt.encode(claims(), RSA_KEY, "RS256"), BadSignature),
        (lambda: jwt.encode(claims(), "another-secret-of-sufficient-length!"), BadSignature),
        (lambda: "", MalformedToken),
        (lambda: "potato", MalformedToken),
        (lambda: "a.b.c", MalformedToken),
    ],
)
async def test_forgeries_are_refused(make: Callable[[], str], error: type[TokenError]) -> None:
    with pytest.raises(error):
        await TokenVerifier(SECRET, jwks=JWKS).verify(make())


@given(st.text(max_size=80))
async def test_any_text_is_refused_with_an_error_of_ours(text: str) -> None:
    with pytest.raises(TokenError):
        await TokenVerifier(SECRET).verify(text)


class KeyServer:
    """A JWKS endpoint in memory, with a clock."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.requests = 0
        self.keys: Any = {"keys": [JWKS["keys"][0]]}
        self.status = 200

    def verifier(self) -> TokenVerifier:
        http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        return TokenVerifier(jwks_url="http://project.test/jwks", http=http, clock=lambda: self.now)

    def _answer(self, _: httpx.Request) -> httpx.Response:
        self.requests += 1
        return httpx.Response(self.status, json=self.keys)

    def token(self, key: Any = RSA_KEY, algorithm: str = "RS256", kid: str = "rsa-1") -> str:
        return jwt.encode(claims(exp=10_000), key, algorithm, headers={"kid": kid})


async def test_the_key_set_is_fetched_once_and_again_for_a_new_kid() -> None:
    server = KeyServer()
    verifier = server.verifier()
    await verifier.verify(server.token())
    await verifier.verify(server.token())
    assert server.requests == 1
    server.keys = JWKS
    server.now += 11
    await verifier.verify(server.token(EC_KEY, "ES256", "ec-1"))
    assert server.requests == 2


async def test_unknown_kids_cannot_make_us_hammer_the_key_server() -> None:
    server = KeyServer()
    verifier = server.verifier()
    for _ in range(5):
        with pytest.raises(BadSignature):
            await verifier.verify(server.token(EC_KEY, "ES256", "nobody"))
    assert server.requests == 1


async def test_keys_that_are_held_survive_an_outage_of_the_key_server() -> None:
    server = KeyServer()
    verifier = server.verifier()
    await verifier.verify(server.token())
    server.status, server.now = 503, server.now + 5_000
    assert (await verifier.verify(server.token())).role == "authenticated"
    assert server.requests == 2


@pytest.mark.parametrize("answer", [[], {"keys": "x"}, {}])
async def test_without_keys_nothing_is_said_about_a_token(answer: object) -> None:
    server = KeyServer()
    server.keys = answer
    with pytest.raises(KeysUnavailable):
        await server.verifier().verify(server.token())


def test_a_verifier_without_any_key_is_refused() -> None:
    with pytest.raises(ValueError, match="SUPABASE_JWT_SECRET"):
        TokenVerifier(None)
