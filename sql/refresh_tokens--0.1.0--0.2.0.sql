\echo Use "ALTER EXTENSION refresh_tokens UPDATE" to load this file. \quit

