"""What clients of an application on FastAPI do, with sessions.py of the page. Prints a line for each answer: its
status, and the token or the error."""

import sys
import types


async def check_password(username, password):
    return 7 if (username, password) == ("alice", "correct horse") else None


sys.modules["accounts"] = types.SimpleNamespace(check_password=check_password)

import sessions
from fastapi.testclient import TestClient

with TestClient(sessions.app, client=("192.0.2.1", 50000)) as client:

    def show(where, **form):
        answer = client.post(where, data=form)
        body = answer.json() if answer.content else {}
        print(answer.status_code, body.get("refresh_token") or body.get("error") or "-")
        return body.get("refresh_token")

    def log_in():
        return show("/login", username="alice", password="correct horse")

    first = log_in()
    second = show("/refresh", token=first)
    third = show("/refresh", token=second)
    show("/refresh", token=first)
    show("/refresh", token=third)
    other = log_in()
    show("/logout", token=other)
    show("/refresh", token=other)
    show("/refresh", token="nonsense")
