"""Refreshes with OAuth libraries for Python, in process and on PostgreSQL: python refresh.py LIBRARY SESSIONS FAMILY SEED.

Where the server is, the environment says (PGHOST and the like). Fills its tables, writes "ready", and then for each
number of seconds that it reads writes a line of JSON: refreshes, seconds, the server's CPU seconds.
"""

import datetime
import json
import os
import random
import secrets
import sys
import time
import uuid

AGENT = "Mozilla/5.0"


def django_oauth_toolkit(sessions, family):
    """Its token view, with rotation and reuse protection. A public client: no password is hashed."""
    import django
    from django.conf import settings

    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": os.environ["PGDATABASE"],
                "USER": os.environ["PGUSER"],
                "HOST": os.environ["PGHOST"],
                "OPTIONS": {"options": os.environ["PGOPTIONS"]},
            }
        },
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
        OAUTH2_PROVIDER={"REFRESH_TOKEN_REUSE_PROTECTION": True},
        SECRET_KEY="bench",
        USE_TZ=True,
        ROOT_URLCONF="oauth2_provider.urls",
    )
    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection, transaction
    from django.test import RequestFactory
    from django.utils import timezone
    from oauth2_provider.models import AccessToken, Application, RefreshToken
    from oauth2_provider.views import TokenView

    call_command("migrate", verbosity=0)
    client = Application.objects.create(
        client_type=Application.CLIENT_PUBLIC, authorization_grant_type=Application.GRANT_PASSWORD
    )
    now = timezone.now()
    users = User.objects.bulk_create(User(username=str(number)) for number in range(sessions))
    expires = now + datetime.timedelta(hours=1)
    access = AccessToken.objects.bulk_create(
        AccessToken(user=user, token=secrets.token_urlsafe(22), application=client, expires=expires, scope="read")
        for user in users
    )
    families = [uuid.uuid4() for _ in users]
    tokens = []
    for generation in range(family):
        live = generation == family - 1
        tokens = RefreshToken.objects.bulk_create(
            RefreshToken(
                user=token.user,
                token=secrets.token_urlsafe(22),
                application=client,
                access_token=token if live else None,
                token_family=of,
                revoked=None if live else now,
            )
            for token, of in zip(access, families)
        )
    view, factory = TokenView.as_view(), RequestFactory()

    def refresh(token):
        form = {"grant_type": "refresh_token", "client_id": client.client_id, "refresh_token": token}
        response = view(factory.post("/token/", form, headers={"user-agent": AGENT}))
        return json.loads(response.content)["refresh_token"]

    assert not transaction.get_connection().in_atomic_block
    return connection.connection.info.backend_pid, refresh, [token.token for token in tokens]


def authlib(sessions, family):
    """The models and the grant of its documentation's example, in a Flask application."""
    import flask
    from authlib.integrations.flask_oauth2 import AuthorizationServer
    from authlib.integrations.sqla_oauth2 import (
        OAuth2ClientMixin,
        OAuth2TokenMixin,
        create_query_client_func,
        create_save_token_func,
    )
    from authlib.oauth2.rfc6749 import grants
    from sqlalchemy import Column, ForeignKey, Integer, String, create_engine, insert
    from sqlalchemy.orm import declarative_base, relationship, scoped_session, sessionmaker

    engine = create_engine("postgresql+psycopg://", pool_size=1, max_overflow=0)
    session = scoped_session(sessionmaker(bind=engine))
    base = declarative_base()

    class User(base):
        __tablename__ = "users"
        id = Column(Integer, primary_key=True)
        username = Column(String(40), unique=True)

        def get_user_id(self):
            return self.id

    class Client(base, OAuth2ClientMixin):
        __tablename__ = "oauth2_client"
        id = Column(Integer, primary_key=True)

    class Token(base, OAuth2TokenMixin):
        __tablename__ = "oauth2_token"
        id = Column(Integer, primary_key=True)
        user_id = Column(Integer, ForeignKey("users.id", ondelete="CASCADE"))
        user = relationship("User")

    class Grant(grants.RefreshTokenGrant):
        INCLUDE_NEW_REFRESH_TOKEN = True
        TOKEN_ENDPOINT_AUTH_METHODS = ["none"]

        def authenticate_refresh_token(self, refresh_token):
            token = session.query(Token).filter_by(refresh_token=refresh_token).first()
            return token if token and not token.is_revoked() else None

        def authenticate_user(self, credential):
            return session.get(User, credential.user_id)

        def revoke_old_credential(self, credential):
            credential.access_token_revoked_at = credential.refresh_token_revoked_at = int(time.time())
            session.add(credential)
            session.commit()

    base.metadata.create_all(engine)
    client = Client(client_id="bench", client_id_issued_at=int(time.time()))
    client.set_client_metadata(
        {"grant_types": ["refresh_token"], "token_endpoint_auth_method": "none", "scope": "read"}
    )
    session.add(client)
    session.execute(insert(User), [{"id": number, "username": str(number)} for number in range(sessions)])
    live = []
    for generation in range(family):
        live = [secrets.token_urlsafe(36) for _ in range(sessions)]
        revoked = 0 if generation == family - 1 else int(time.time())
        rows = [
            {
                "user_id": number,
                "client_id": "bench",
                "token_type": "Bearer",
                "access_token": secrets.token_urlsafe(32),
                "refresh_token": token,
                "scope": "read",
                "access_token_revoked_at": revoked,
                "refresh_token_revoked_at": revoked,
                "expires_in": 864000,
            }
            for number, token in enumerate(live)
        ]
        session.execute(insert(Token), rows)
    session.commit()

    app = flask.Flask(__name__)
    app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = True
    app.teardown_appcontext(lambda _: session.remove())
    server = AuthorizationServer(
        app, query_client=create_query_client_func(session, Client), save_token=create_save_token_func(session, Token)
    )
    server.register_grant(Grant)
    app.post("/token")(server.create_token_response)
    caller = app.test_client()

    def refresh(token):
        form = {"grant_type": "refresh_token", "client_id": "bench", "refresh_token": token}
        return caller.post("/token", data=form, headers={"user-agent": AGENT}).get_json()["refresh_token"]

    pid = session.connection().connection.driver_connection.info.backend_pid
    session.remove()
    return pid, refresh, live


def cpu_seconds(pid):
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e9


def main():
    library, sessions, family = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    random.seed(int(sys.argv[4]))
    pid, refresh, tokens = {"django-oauth-toolkit": django_oauth_toolkit, "authlib": authlib}[library](sessions, family)
    print("ready", flush=True)
    for line in sys.stdin:
        refreshes, cpu, start = 0, cpu_seconds(pid), time.monotonic()
        while time.monotonic() - start < float(line):
            at = random.randrange(len(tokens))
            tokens[at] = refresh(tokens[at])
            refreshes += 1
        seconds = time.monotonic() - start
        print(json.dumps({"refreshes": refreshes, "seconds": seconds, "cpu": cpu_seconds(pid) - cpu}), flush=True)


main()
