-- The roles and databases of the primary, each with what it needs and no more. Runs at each start of a
-- primary; doing it again changes nothing.
--
-- Passwords are here as their SCRAM verifiers (RFC 5803), which nobody can log in with.

-- What has gone wrong is logged with its statement.
SET log_min_error_statement = panic;
SET client_min_messages = warning;
\set synapse `cat /secrets/postgres/synapse.scram`
\set lalepass `cat /secrets/postgres/lalepass.scram`
\set media `cat /secrets/postgres/media.scram`
\set lookout `cat /secrets/postgres/lookout.scram`
\set standby `cat /secrets/postgres/standby.scram`

SELECT format('CREATE ROLE %I', name)
FROM unnest(ARRAY['synapse', 'lalepass', 'media', 'lookout', 'standby']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

-- What is left of processes that were cut off must not take every connection there is: limits are
-- twice what all of them want, for some more processes, and all together less than max_connections.
ALTER ROLE synapse LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'synapse'
    CONNECTION LIMIT 120;
-- Or who may read pg_stat_activity, as Lalepass may (below), would read tokens and messages in Synapse's
-- statements. The price: nobody sees there what Synapse does at the moment. What takes long says
-- log_min_duration_statement.
ALTER ROLE synapse SET track_activities = off;
ALTER ROLE lalepass LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'lalepass'
    CONNECTION LIMIT 60;
-- What it may read, synapse/media_rights.py says when Synapse has made its tables.
ALTER ROLE media LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'media'
    CONNECTION LIMIT 5;
ALTER ROLE lookout LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'lookout';
ALTER ROLE standby LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE REPLICATION PASSWORD :'standby';
-- What a standby follows, which Lalepass has to know before it reads from it.
GRANT pg_read_all_stats TO lalepass;

-- C is what Synapse insists on; Lalepass does not mind.
SELECT format(
    'CREATE DATABASE %I OWNER %I TEMPLATE template0 ENCODING ''UTF8'' LC_COLLATE ''C'' LC_CTYPE ''C''',
    name, name)
FROM unnest(ARRAY['synapse', 'lalepass']) AS name
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec

REVOKE ALL ON DATABASE synapse, lalepass, postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE postgres TO lookout;
GRANT CONNECT ON DATABASE synapse TO media;
