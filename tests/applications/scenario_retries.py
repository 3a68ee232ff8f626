"""The loop of the page: the first attempt meets another transaction, the second one gets an answer."""

import retries
from psycopg import errors
from psycopg_pool import ConnectionPool

with ConnectionPool(open=True) as pool, pool.connection() as other:
    other.autocommit = True
    token = other.execute("SELECT refresh_token FROM auth.issue_refresh_token('alice')").fetchone()[0]
    attempts = 0

    def work(connection):
        global attempts
        attempts += 1
        connection.execute("SELECT 1")  # takes the snapshot
        if attempts == 1:
            other.execute("SELECT auth.revoke_refresh_token(%s)", (token,))
        try:
            return connection.execute("SELECT status FROM auth.rotate_refresh_token(%s)", (token,)).fetchone()[0]
        except errors.SerializationFailure as error:
            print("the first attempt failed with", error.sqlstate)
            raise

    print("the second one is answered", retries.run(pool, work))
