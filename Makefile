# The work is done by scripts/; what they install and build lies in a cache folder outside of this one.

.PHONY: help bench demo demo-postgrest test test-matrix test-package lint install package setup

help:
	@echo "make demo        show a token's life on a throw-away PostgreSQL server"
	@echo "make demo-postgrest  show it in use through PostgREST: the application in examples/postgrest"
	@echo "make test        run every test (T=name: those whose name contains it)"
	@echo "make test-matrix run every test with PostgreSQL 15, 17 and 18, each in a Debian of its own (as root; PG=17: one)"
	@echo "make lint        check format, lints, documentation, shell scripts and the installed SQL"
	@echo "make package     build a Debian package in target/package/"
	@echo "make test-package install, use and remove that package in a clean Debian 12 (as root)"
	@echo "make bench       measure it against its peers on a throw-away PostgreSQL server (ARGS=--help: what can be chosen)"
	@echo "make install     install the extension into this machine's PostgreSQL (or PG_CONFIG=...)"
	@echo "make setup       only install what the others need"
	@echo
	@echo "All of them first install what is missing. PG=15 chooses the major version of PostgreSQL."

bench demo demo-postgrest test test-matrix test-package lint install package setup:
	@scripts/$@
