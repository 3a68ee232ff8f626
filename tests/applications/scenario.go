// What an application does, with sessions.go of the page. Prints a line for each answer: its status, and the token or
// the error.
package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

func main() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, "")
	must(err)
	defer pool.Close()
	sessions := Sessions{pool}

	show := func(answer Answer, err error) string {
		must(err)
		fmt.Println(answer.Status, answer.RefreshToken+answer.Error)
		return answer.RefreshToken
	}
	logIn := func() string { return show(sessions.LogIn(ctx, "alice", "a browser", "192.0.2.1")) }
	refresh := func(token string) string { return show(sessions.Refresh(ctx, token, "a browser", "192.0.2.1")) }

	first := logIn()
	second := refresh(first)
	third := refresh(second)
	refresh(first)
	refresh(third)
	other := logIn()
	must(sessions.LogOut(ctx, other))
	fmt.Println("204 -")
	refresh(other)
	refresh("nonsense")

	// In these modes the values are bound, or not.
	for name, mode := range map[string]pgx.QueryExecMode{
		"bound":   pgx.QueryExecModeExec,
		"written": pgx.QueryExecModeSimpleProtocol,
	} {
		_, err := pool.Exec(ctx, "SELECT auth.revoke_refresh_token($1)", mode, name)
		must(err)
	}

	// An integer for a user's id takes both casts.
	var user string
	must(pool.QueryRow(ctx, "SELECT $1::bigint::text", 7).Scan(&user))
	if pool.QueryRow(ctx, "SELECT $1::text", 7).Scan(&user) == nil {
		panic("an integer is taken for text")
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
