-- What compose.yaml has the superuser run before each migration, and after it: rights, and the passwords of deploy/secrets.

\set QUIET on
\set ON_ERROR_STOP on
SET client_min_messages = warning;
\ir roles.sql
\ir hand-over.sql

-- The log of the server is no place for a password, whatever it is told to hold.
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET log_min_duration_statement = -1;
\set password `cat /run/secrets/orders_migrate_password`
ALTER ROLE orders_migrate PASSWORD :'password';
\set password `cat /run/secrets/orders_worker_password`
ALTER ROLE orders_worker PASSWORD :'password';
\set password `cat /run/secrets/orders_operator_password`
ALTER ROLE orders_operator PASSWORD :'password';
\set password `cat /run/secrets/orders_reader_password`
ALTER ROLE orders_reader PASSWORD :'password';
