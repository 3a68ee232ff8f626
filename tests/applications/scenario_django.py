"""What clients of an application on Django do, with settings.py and views.py of the page. Prints a line for each
answer: its status, and the token or the error."""

import settings
import django
from django.conf import settings as configuration

configuration.configure(
    DATABASES=settings.DATABASES,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="a test's",
)
django.setup()

import views
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import path

urlpatterns = [
    path("login", views.log_in),
    path("refresh", views.refresh),
    path("logout", views.log_out),
]

client = Client(headers={"user-agent": "a browser"})


def show(where, **form):
    answer = client.post(where, form)
    body = answer.json() if answer.content else {}
    print(answer.status_code, body.get("refresh_token") or body.get("error") or "-")
    return body.get("refresh_token")


def log_in():
    return show("/login", username="alice", password="correct horse")


if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    User.objects.create_user("alice", password="correct horse")
    first = log_in()
    second = show("/refresh", token=first)
    third = show("/refresh", token=second)
    show("/refresh", token=first)
    show("/refresh", token=third)
    other = log_in()
    show("/logout", token=other)
    show("/refresh", token=other)
    show("/refresh", token="nonsense")
