-- Roles that may do what they need and nothing else. docs/deploy.md says what each is for.
--
-- To be run in the worker's database, as a superuser, before the first `worker migrate`:
--
--     psql -v ON_ERROR_STOP=1 -d orders -f deploy/postgres/roles.sql
--
-- and once more after each `worker migrate`, as a superuser or as orders_migrate: tables that are not there can't be
-- granted. It may be run any number of times. It sets no password, and without one nobody signs in with a password.

BEGIN;
SET LOCAL search_path = public;

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['orders_migrate', 'orders_worker', 'orders_operator', 'orders_pruner',
        'orders_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', role);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role);
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO orders_migrate;
GRANT USAGE ON SCHEMA public TO orders_worker, orders_operator, orders_pruner, orders_reader;

DO $$
BEGIN
    IF to_regclass('orders') IS NULL THEN
        RAISE NOTICE 'there are no tables yet: run worker migrate as orders_migrate, then this file again';
        RETURN;
    END IF;

    GRANT SELECT, INSERT, UPDATE ON orders TO orders_worker;
    GRANT SELECT, INSERT ON trades TO orders_worker;
    GRANT SELECT, INSERT, UPDATE, DELETE ON order_sources TO orders_worker;
    GRANT SELECT ON order_prunings, orders_worker_version TO orders_worker;

    GRANT SELECT ON orders, trades, order_sources, order_prunings, orders_worker_version TO orders_operator;

    -- Whoever locks a row has to be allowed to change a part of it.
    GRANT SELECT, DELETE, UPDATE (repeated_at) ON orders TO orders_pruner;
    GRANT SELECT, DELETE ON trades TO orders_pruner;
    GRANT SELECT, INSERT, UPDATE ON order_prunings TO orders_pruner;
    GRANT SELECT ON order_sources, orders_worker_version TO orders_pruner;

    GRANT SELECT ON orders, trades TO orders_reader;
END
$$;

COMMIT;
