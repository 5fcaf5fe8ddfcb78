"""The profile `scale` of docker-compose.yml as processes of this machine, on the same files."""
