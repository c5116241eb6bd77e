-- Gives orders_migrate the tables that another role has made: where one role did everything until now.
--
-- To be run once after roles.sql, as a superuser. That other role may then use them only as far as roles.sql, or being a
-- superuser, lets it: stop what enters as an ordinary role first. Where nothing is to be handed over, nothing is done.

DO $$
DECLARE
    made regclass;
BEGIN
    FOR made IN
        SELECT oid FROM pg_class
        WHERE relnamespace = 'public'::regnamespace
            AND relname IN (
                'orders', 'trades', 'order_sources', 'order_prunings', 'orders_worker_version', 'alembic_version'
            )
            AND pg_get_userbyid(relowner) <> 'orders_migrate'
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO orders_migrate', made);
    END LOOP;
END
$$;
