"""What an application does, with sessions.py of the page. Prints a line for each answer: its status, and the token or
the error."""

import sys
import uuid

import sessions


def show(answer):
    status, body = answer
    print(status, body.get("refresh_token") or body.get("error") or "-")
    return body.get("refresh_token")


client = ("a browser", "192.0.2.1")
user = {"integer": 7, "uuid": uuid.UUID(int=7)}[sys.argv[1]]
first = show(sessions.log_in(user, *client))
second = show(sessions.refresh(first, *client))
third = show(sessions.refresh(second, *client))
show(sessions.refresh(first, *client))
show(sessions.refresh(third, *client))
other = show(sessions.log_in(user, *client))
show(sessions.log_out(other))
show(sessions.refresh(other, *client))
show(sessions.refresh("nonsense", *client))
