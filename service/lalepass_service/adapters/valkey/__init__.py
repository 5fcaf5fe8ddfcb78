"""Valkey, or Redis from 7.0 on: counters that several replicas of the service share.

client      connections, time limits, scripts, and whether it answers at all
names       what keys and values look like
softlocks   lanes, in Valkey
local       the same lanes in this process, for as long as Valkey is away
shared      the one and the other, and how they come together again
anew        counting begins again, where the database is older than what Valkey counts
throttle    how often sources and callers may ask, counted by all replicas together
"""
