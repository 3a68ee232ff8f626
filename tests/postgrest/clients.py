"""Ordinary OAuth 2 clients against the endpoints, as PostgREST serves them.

Run with the name of a JSON file: `url` is PostgREST's, `issuer` and `audience` are those of the access tokens,
`alg` is what they are signed with, `retired` is an access token whose key has been taken out of the key set, and
`secrets` holds the clients and their secrets. `api.log_in(user_id, client_id, scope)` logs anybody in.
"""

import base64
import json
import os
import sys
import time
import unittest
from urllib.parse import quote_plus

import jwt
import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from oauthlib.oauth2 import InvalidGrantError
from requests_oauthlib import OAuth2Session as RequestsOAuth2Session

# oauthlib insists on TLS, which this server does not speak.
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"

SETTINGS = {}


def url(path):
    return SETTINGS["url"] + path


def log_in(client_id=None, scope=None, user_id="alice"):
    body = {"user_id": user_id, "client_id": client_id, "scope": scope}
    answer = requests.post(url("/rpc/log_in"), json=body, headers={"Content-Profile": "api"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def notes(token):
    headers = {"Accept-Profile": "api", "Authorization": "Bearer " + token}
    return requests.get(url("/notes"), headers=headers)


def secret_of(client_id):
    return SETTINGS["secrets"][client_id]


def authlib(method, client_id="confidential", token=None, **more):
    return OAuth2Session(
        client_id,
        more.pop("secret", secret_of(client_id)),
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
        token=token,
        token_endpoint=url("/rpc/token"),
        **more,
    )


METHODS = [
    # Authlib and requests don't encode a secret as RFC 6749 section 2.3.1 wants it: so it is one that is the same.
    ("client_secret_basic", "confidential"),
    ("client_secret_post", "confidential"),
    ("client_secret_post", "special"),
    ("none", "public"),
]


class Refreshing(unittest.TestCase):
    def test_every_way_of_authenticating(self):
        for method, client_id in METHODS:
            with self.subTest(method, client=client_id):
                first = log_in(client_id, "read write")
                session = authlib(method, client_id, first)
                second = session.refresh_token(url("/rpc/token"))
                self.assertEqual(second["token_type"].lower(), "bearer")
                self.assertNotEqual(second["refresh_token"], first["refresh_token"])
                self.assertNotEqual(second["access_token"], first["access_token"])
                self.assertGreater(second["expires_at"], time.time())
                third = session.refresh_token(url("/rpc/token"))
                self.assertNotEqual(third["refresh_token"], second["refresh_token"])
                self.assertEqual(notes(third["access_token"]).json()[0]["owner"], "alice")

    def test_oauthlib(self):
        first = log_in("confidential")
        session = RequestsOAuth2Session("confidential", token=first)
        second = session.refresh_token(url("/rpc/token"), auth=("confidential", secret_of("confidential")))
        self.assertNotEqual(second["refresh_token"], first["refresh_token"])

        first = log_in("public")
        session = RequestsOAuth2Session("public", token=first)
        second = session.refresh_token(url("/rpc/token"), client_id="public")
        self.assertNotEqual(second["refresh_token"], first["refresh_token"])
        self.assertEqual(session.get(url("/notes"), headers={"Accept-Profile": "api"}).status_code, 200)
        session.post(url("/rpc/revoke"), data={"token": second["refresh_token"], "client_id": "public"})
        with self.assertRaises(InvalidGrantError):
            session.refresh_token(url("/rpc/token"), client_id="public")

    def test_a_client_refreshes_by_itself_when_its_token_has_expired(self):
        kept = []
        token = log_in("public") | {"expires_at": int(time.time()) - 5}
        session = authlib(
            "none", "public", token,
            update_token=lambda token, refresh_token=None, access_token=None: kept.append(token),
        )
        answer = session.get(url("/notes"), headers={"Accept-Profile": "api"})
        self.assertEqual(answer.json()[0]["owner"], "alice")
        self.assertEqual(len(kept), 1)
        self.assertNotEqual(kept[0]["refresh_token"], token["refresh_token"])

    def test_a_secret_that_has_to_be_encoded(self):
        first = log_in("special")
        data = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
        auth = (quote_plus("special"), quote_plus(secret_of("special")))
        answer = requests.post(url("/rpc/token"), data=data, auth=auth)
        self.assertEqual(answer.status_code, 200, answer.text)
        self.assertNotEqual(answer.json()["refresh_token"], first["refresh_token"])

    def test_json(self):
        first = log_in("public")
        body = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"], "client_id": "public"}
        answer = requests.post(url("/rpc/token"), json=body | {"a_key_that_nobody_knows": 1})
        self.assertEqual(answer.status_code, 200, answer.text)
        self.assertEqual(answer.headers["Cache-Control"], "no-store")
        self.assertNotEqual(answer.json()["refresh_token"], first["refresh_token"])

    def test_a_narrower_scope(self):
        session = authlib("none", "public", log_in("public", "read write"))
        narrow = session.refresh_token(url("/rpc/token"), scope="read")
        self.assertEqual(narrow["scope"], "read")
        claims = jwt.decode(narrow["access_token"], options={"verify_signature": False})
        self.assertEqual(claims["scope"], "read")
        with self.assertRaises(OAuthError) as refusal:
            session.refresh_token(url("/rpc/token"), scope="read admin")
        self.assertEqual(refusal.exception.error, "invalid_scope")


class Refusing(unittest.TestCase):
    def refused(self, session, error):
        with self.assertRaises(OAuthError) as refusal:
            session.refresh_token(url("/rpc/token"))
        self.assertEqual(refusal.exception.error, error)

    def test_a_client_that_does_not_prove_who_it_is(self):
        token = log_in("confidential")
        for method in ["client_secret_basic", "client_secret_post"]:
            self.refused(authlib(method, token=token, secret="wrong"), "invalid_client")
        self.refused(authlib("none", token=token), "invalid_client")
        # Nothing of that has used the token up.
        authlib("client_secret_basic", token=token).refresh_token(url("/rpc/token"))

    def test_the_token_of_another_client(self):
        self.refused(authlib("none", "public", log_in("confidential")), "invalid_grant")

    def test_what_is_no_token(self):
        token = log_in("public")
        for wrong in ["x", token["refresh_token"][:-1], token["access_token"]]:
            self.refused(authlib("none", "public", token | {"refresh_token": wrong}), "invalid_grant")

    def test_the_status_and_the_headers(self):
        data = {"grant_type": "refresh_token", "refresh_token": "x"}
        answer = requests.post(url("/rpc/token"), data=data)
        self.assertEqual((answer.status_code, answer.json()["error"]), (400, "invalid_grant"))
        self.assertEqual(answer.headers["Cache-Control"], "no-store")
        answer = requests.post(url("/rpc/token"), data=data, auth=("confidential", "wrong"))
        self.assertEqual((answer.status_code, answer.json()["error"]), (401, "invalid_client"))
        self.assertTrue(answer.headers["WWW-Authenticate"].startswith("Basic"))
        answer = requests.post(url("/rpc/token"), data={"grant_type": "password"})
        self.assertEqual((answer.status_code, answer.json()["error"]), (400, "unsupported_grant_type"))
        answer = requests.get(url("/rpc/token"), params=data)
        self.assertEqual(answer.status_code, 405)


class Revoking(unittest.TestCase):
    def test_the_whole_session_ends(self):
        for method, client_id in METHODS:
            with self.subTest(method, client=client_id):
                token = log_in(client_id)
                session = authlib(method, client_id, token)
                answer = session.revoke_token(
                    url("/rpc/revoke"), token["refresh_token"], token_type_hint="refresh_token"
                )
                self.assertEqual(answer.status_code, 200)
                with self.assertRaises(OAuthError) as refusal:
                    session.refresh_token(url("/rpc/token"))
                self.assertEqual(refusal.exception.error, "invalid_grant")
                self.assertEqual(notes(token["access_token"]).status_code, 401)

    def test_an_unknown_token_is_no_error(self):
        for hint in ["refresh_token", "access_token", "something"]:
            answer = authlib("client_secret_basic").revoke_token(url("/rpc/revoke"), "x", token_type_hint=hint)
            self.assertEqual(answer.status_code, 200)


class Introspecting(unittest.TestCase):
    def test_both_kinds_of_token(self):
        token = log_in("confidential", "read")
        session = authlib("client_secret_basic")
        for kind in ["refresh_token", "access_token"]:
            found = session.introspect_token(url("/rpc/introspect"), token[kind], token_type_hint=kind).json()
            self.assertIs(found["active"], True, kind)
            self.assertEqual((found["sub"], found["client_id"], found["scope"]), ("alice", "confidential", "read"))
            self.assertGreater(found["exp"], time.time())
        session.revoke_token(url("/rpc/revoke"), token["refresh_token"])
        for kind in ["refresh_token", "access_token"]:
            found = session.introspect_token(url("/rpc/introspect"), token[kind], token_type_hint=kind).json()
            self.assertEqual(found, {"active": False}, kind)


def encode(part):
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


class Verifying(unittest.TestCase):
    def setUp(self):
        self.token = log_in("public", "read")["access_token"]
        self.keys = jwt.PyJWKClient(url("/rpc/jwks"))

    def verify(self, token):
        key = self.keys.get_signing_key_from_jwt(token)
        return jwt.decode(
            token,
            key,
            algorithms=[SETTINGS["alg"]],
            audience=SETTINGS["audience"],
            issuer=SETTINGS["issuer"],
            options={"require": ["exp", "iat", "aud", "iss", "sub", "jti"]},
        )

    def test_a_token_verifies_and_says_what_it_should(self):
        claims = self.verify(self.token)
        self.assertEqual(claims["sub"], "alice")
        self.assertEqual(claims["role"], SETTINGS["role"])
        self.assertEqual((claims["client_id"], claims["scope"]), ("public", "read"))
        self.assertIn("session_id", claims)
        self.assertEqual(jwt.get_unverified_header(self.token)["alg"], SETTINGS["alg"])
        self.assertEqual(notes(self.token).status_code, 200)

    def test_the_published_keys_are_public(self):
        for key in requests.get(url("/rpc/jwks")).json()["keys"]:
            self.assertNotIn("d", key)
            self.assertNotIn("k", key)
            self.assertEqual((key["alg"], key["use"]), (SETTINGS["alg"], "sig"))

    def test_a_tampered_token(self):
        header, claims, signature = self.token.split(".")
        changed = jwt.decode(self.token, options={"verify_signature": False}) | {"sub": "mallory"}
        first = "B" if signature[0] == "A" else "A"
        for token in [
            ".".join([header, encode(changed), signature]),
            ".".join([header, claims, first + signature[1:]]),
        ]:
            with self.assertRaises(jwt.InvalidSignatureError):
                self.verify(token)
            self.assertEqual(notes(token).status_code, 401)

    def test_algorithms_that_an_attacker_would_like(self):
        header = jwt.get_unverified_header(self.token)
        _, claims, signature = self.token.split(".")
        published = requests.get(url("/rpc/jwks")).json()["keys"][0]
        key = base64.urlsafe_b64decode(published["x"] + "==")
        claims_of = jwt.decode(self.token, options={"verify_signature": False})
        for token in [
            ".".join([encode(header | {"alg": "none"}), claims, ""]),
            ".".join([encode(header | {"alg": "none"}), claims, signature]),
            jwt.encode(claims_of, key, algorithm="HS256", headers={"kid": header["kid"]}),
        ]:
            with self.assertRaises(jwt.InvalidTokenError):
                self.verify(token)
            self.assertEqual(notes(token).status_code, 401)

    def test_a_key_that_is_no_longer_published(self):
        with self.assertRaises(jwt.PyJWKClientError):
            self.verify(SETTINGS["retired"])
        self.assertEqual(notes(SETTINGS["retired"]).status_code, 401)


if __name__ == "__main__":
    with open(sys.argv.pop(1), encoding="utf-8") as file:
        SETTINGS |= json.load(file)
    unittest.main()
