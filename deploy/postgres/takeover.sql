-- In the database `synapse` of a cluster that the profile `small` has made: there the role
-- `synapse` is who may do everything, which the first role of a cluster has to stay. It gets another
-- name, and nobody can log in as it. A new `synapse` owns what is Synapse's. Doing it again changes
-- nothing.
SET client_min_messages = warning;
SELECT rolname = 'synapse' AS todo FROM pg_roles WHERE oid = 10 \gset
\if :todo

ALTER ROLE synapse RENAME TO bootstrap;
ALTER ROLE bootstrap NOLOGIN PASSWORD NULL;
CREATE ROLE synapse;
ALTER DATABASE synapse OWNER TO synapse;

DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        -- also sequences that no column has: those of columns go with their tables
        SELECT format('ALTER TABLE %s OWNER TO synapse', c.oid::regclass)
        FROM pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace
            AND (c.relkind IN ('r', 'p', 'v', 'm', 'f')
                OR (c.relkind = 'S' AND NOT EXISTS (
                    SELECT FROM pg_depend AS d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                        AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))))
        UNION ALL
        SELECT format('ALTER ROUTINE %s OWNER TO synapse', p.oid::regprocedure)
        FROM pg_proc AS p
        WHERE p.pronamespace = 'public'::regnamespace
        UNION ALL
        SELECT format('ALTER TYPE %s OWNER TO synapse', t.oid::regtype)
        FROM pg_type AS t
        WHERE t.typnamespace = 'public'::regnamespace AND t.typtype IN ('e', 'd', 'r')
    LOOP
        EXECUTE command;
    END LOOP;
END
$$;
\endif
