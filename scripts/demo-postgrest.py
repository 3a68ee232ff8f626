"""The requests that scripts/demo-postgrest shows. Needs Python alone. Ends with an error when an answer is not as it should be."""

import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

URL = sys.argv[1]
BOLD, PLAIN = os.environ.get("BOLD", ""), os.environ.get("PLAIN", "")


def short(value):
    """The value with every token in it cut for the screen."""
    if isinstance(value, dict):
        return {name: short(member) for name, member in value.items()}
    if isinstance(value, list):
        return [short(member) for member in value]
    is_token = isinstance(value, str) and value.startswith(("pgrt_", "eyJ"))
    return f"{value[:10]}…{value[-6:]}" if is_token else value


def step(number, title):
    print(f"\n{BOLD}{number}. {title}{PLAIN}\n")


def remark(text):
    print(f"   {text}")


def send(method, path, *, form=None, body=None, token=None, profile=None, expected):
    """Sends a request and shows it and its answer, whose status must be the expected one."""
    shown, data, headers = [], None, {}
    if profile:
        name = "Accept-Profile" if method == "GET" else "Content-Profile"
        headers[name] = profile
        shown.append(f"{name}: {profile}")
    if token:
        headers["Authorization"] = "Bearer " + token
        shown.append("Authorization: Bearer " + short(token))
    if form:
        data = urllib.parse.urlencode(form).encode()
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        shown.append("&".join(f"{name}={short(value)}" for name, value in form.items()))
    if body:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
        shown.append(json.dumps(body))
    print(f"   {BOLD}{method} {path}{PLAIN}")
    for line in shown:
        print(f"   {line}")

    request = urllib.request.Request(URL + path, data, headers, method=method)
    try:
        answer = urllib.request.urlopen(request)
    except urllib.error.HTTPError as error:
        answer = error
    text = answer.read().decode()
    content = json.loads(text) if text else None
    print(f"\n   {BOLD}{answer.status} {answer.reason}{PLAIN}")
    for name in ["Cache-Control", "WWW-Authenticate"]:
        if answer.headers[name]:
            print(f"   {name}: {answer.headers[name]}")
    if content is not None:
        for line in json.dumps(short(content), indent=2, ensure_ascii=False).splitlines():
            print(f"   {line}")
    print()
    check(answer.status == expected, f"the status should be {expected}")
    return content


def check(truth, text):
    if not truth:
        sys.exit(f"error: {text}")


def wait_for_server():
    for _ in range(100):
        try:
            urllib.request.urlopen(URL + "/rpc/jwks")
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    sys.exit("error: the server doesn't answer")


def refresh(token, expected):
    return send(
        "POST", "/rpc/token", form={"grant_type": "refresh_token", "refresh_token": token}, expected=expected
    )


ALICE = {"email": "alice@example.com", "password": "correct horse"}


def log_in():
    return send("POST", "/rpc/login", body=ALICE, profile="api", expected=200)


def read_notes(token, expected):
    return send("GET", "/notes", token=token, profile="api", expected=expected)


wait_for_server()

step(1, "Alice signs up, and logs in. The application checks her password, the rest is the extension's.")
send("POST", "/rpc/sign_up", body=ALICE, profile="api", expected=204)
first = log_in()

step(2, "Her client writes a note, and reads hers: row level security goes by the subject of the access token.")
note = {"body": "Buy milk"}
send("POST", "/rpc/add_note", body=note, token=first["access_token"], profile="api", expected=204)
notes = read_notes(first["access_token"], 200)
check([row["body"] for row in notes] == ["Buy milk"], "the note should be there")

step(3, "The access token runs out some day. The client rotates its refresh token, and gets both anew.")
second = refresh(first["refresh_token"], 200)

step(4, "The answer was lost on the way, so the client asks once more, with the token it has.")
third = refresh(first["refresh_token"], 200)
check(third["refresh_token"] == second["refresh_token"], "a retry should get the same token")
remark("The same refresh token as in the lost answer.")

step(5, "Her sessions, as she sees them.")
send("GET", "/my_sessions", token=third["access_token"], expected=200)

step(6, "A thief has a copy of the first token, and presents it too late for an honest retry (here after 2 seconds).")
time.sleep(2.5)
refresh(first["refresh_token"], 400)
remark("No token for the thief, and the session has ended with it. The access token in Alice's client as well, at once:")
print()
read_notes(third["access_token"], 401)

step(7, "Whoever else verifies access tokens finds the public keys here.")
send("GET", "/rpc/jwks", expected=200)

step(8, "Alice logs in again, and logs out.")
again = log_in()
send("POST", "/rpc/revoke", form={"token": again["refresh_token"]}, expected=200)
refresh(again["refresh_token"], 400)
read_notes(again["access_token"], 401)
