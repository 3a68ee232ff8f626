# The work is done by scripts/; what they install and build lies in a cache folder outside of this one.

.PHONY: help all install uninstall installcheck bench demo demo-postgrest test test-install test-matrix test-package \
	lint fuzz package setup

help:
	@echo "make demo        show a token's life on a throw-away PostgreSQL server"
	@echo "make demo-postgrest  show it in use through PostgREST: the application in examples/postgrest"
	@echo "make test        run every test (T=name: those whose name contains it)"
	@echo "make test-matrix run every test with PostgreSQL 15, 17 and 18, each in a Debian of its own (as root; PG=17: one)"
	@echo "make fuzz        feed the rules with what nobody thought of, a minute each (SECONDS_EACH=..., T=token: one)"
	@echo "make lint        check format, lints, documentation, dependencies, shell scripts and the installed SQL"
	@echo "                 (ADVISORIES=required: fail where the database of advisories can't be fetched)"
	@echo "make package     build a Debian package in target/package/"
	@echo "make test-package install, use and remove that package in a clean Debian 12 (as root)"
	@echo "make bench       measure it against its peers on a throw-away PostgreSQL server (ARGS=--help: what can be chosen)"
	@echo "make setup       only install what the others need"
	@echo
	@echo "As with any extension, for this machine's PostgreSQL or the one of PG_CONFIG=...:"
	@echo "make all         build the extension"
	@echo "make install     install it (DESTDIR=...: below that folder)"
	@echo "make uninstall   remove what was installed (DESTDIR=...)"
	@echo "make installcheck run tests/sql against a running server that has it installed (PGHOST, PGPORT, PGUSER: which)"
	@echo "make test-install try these four as PGXN's client and packagers do"
	@echo
	@echo "All but uninstall and installcheck first install what is missing. PG=15 chooses the major version of PostgreSQL."

all install uninstall installcheck bench demo demo-postgrest test test-install test-matrix test-package lint fuzz package setup:
	@scripts/$@
