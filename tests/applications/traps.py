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


def django_raises(token):
    """A view that raises once it has its answer."""
    django({"server_side_binding": True})
    from django.core.exceptions import PermissionDenied
    from django.test import Client
    from django.urls import path

    def view(request):
        print(rotate_with_django(token), end=" ")
        raise PermissionDenied

    urlpatterns.append(path("", view))
    return Client().post("/").status_code


if __name__ == "__main__":
    print(globals()[sys.argv[1]](sys.argv[2]))
