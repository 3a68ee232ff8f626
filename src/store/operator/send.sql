-- Sends that the event $1 was recorded: its id alone, since whoever can connect can listen.
-- $1 event's id
SELECT pg_catalog.pg_notify('refresh_tokens', $1::pg_catalog.text)
