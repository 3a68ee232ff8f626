"""Ways to rotate a token. Called with the name of one, and a token; prints the status."""

import os
import sys

STATEMENT = "SELECT status FROM auth.rotate_refresh_token(%s)"


def psycopg2(token):
    import psycopg2

    with psycopg2.connect("") as connection, connection.cursor() as cursor:
        cursor.execute(STATEMENT, (token,))
        return cursor.fetchone()[0]


def psycopg(token):
    import psycopg

    with psycopg.connect() as connection:
        return connection.execute(STATEMENT, (token,)).fetchone()[0]


def client_cursor(token):
    import psycopg

    with psycopg.connect(cursor_factory=psycopg.ClientCursor) as connection:
        return connection.execute(STATEMENT, (token,)).fetchone()[0]


def sqlalchemy_psycopg2(token):
    import sqlalchemy

    with sqlalchemy.create_engine("postgresql+psycopg2://").begin() as connection:
        statement = sqlalchemy.text("SELECT status FROM auth.rotate_refresh_token(:token)")
        return connection.execute(statement, {"token": token}).scalar_one()


def sqlalchemy_connect(token):
    """Rolls back at the end of the block."""
    import sqlalchemy

    with sqlalchemy.create_engine("postgresql+psycopg://").connect() as connection:
        statement = sqlalchemy.text("SELECT status FROM auth.rotate_refresh_token(:token)")
        return connection.execute(statement, {"token": token}).scalar_one()


def sqlalchemy_double_colon(token):
    """Sees no parameter."""
    import sqlalchemy

    return sorted(sqlalchemy.text("SELECT :token::text, CAST(:other AS text)").compile().params)


def sqlalchemy_errors(token):
    """Whether the message of an error has the token, by default and with hide_parameters."""
    import sqlalchemy

    def shows(**options):
        with sqlalchemy.create_engine("postgresql+psycopg://", **options).begin() as connection:
            try:
                connection.execute(sqlalchemy.text("SELECT 1 / 0 WHERE :token <> ''"), {"token": token})
            except sqlalchemy.exc.DBAPIError as error:
                return token in str(error)

    return shows(), shows(hide_parameters=True)


def fastapi_dependency(token):
    """A handler that raises while a dependency holds the transaction."""
    from fastapi import Depends, FastAPI, HTTPException
    from fastapi.testclient import TestClient
    from psycopg import connect

    def transaction():
        with connect() as connection:
            yield connection

    app = FastAPI()

    @app.post("/")
    def refuse(connection=Depends(transaction)):
        print(connection.execute(STATEMENT, (token,)).fetchone()[0], end=" ")
        raise HTTPException(403)

    return TestClient(app).post("/").status_code


def django(options):
    import django
    from django.conf import settings

    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ["PGDATABASE"],
        "ATOMIC_REQUESTS": True,
        "OPTIONS": options,
    }
    settings.configure(DATABASES={"default": database}, ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__)
    django.setup()


def rotate_with_django(token):
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(STATEMENT, [token])
        return cursor.fetchone()[0]


def django_default(token):
    django({})
    return rotate_with_django(token)


def django_server_side(token):
    django({"server_side_binding": True})
    return rotate_with_django(token)


urlpatterns = []


def django_raises(token, decorate=lambda view: view):
    """A view that raises once it has its answer."""
    django({"server_side_binding": True})
    from django.core.exceptions import PermissionDenied
    from django.test import Client
    from django.urls import path

    def view(request):
        print(rotate_with_django(token), end=" ")
        raise PermissionDenied

    urlpatterns.append(path("", decorate(view)))
    return Client().post("/").status_code


def django_raises_non_atomic(token):
    from django.db import transaction

    return django_raises(token, transaction.non_atomic_requests)


if __name__ == "__main__":
    print(globals()[sys.argv[1]](sys.argv[2]))
