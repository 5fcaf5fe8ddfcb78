"""The doctor: looks at a homeserver's configuration, and says what is wrong and how to mend it.

    python -m lalepass_provider.check homeserver.yaml

Run it with the Python that Synapse runs in. It reads files and asks the service; it starts nothing,
changes nothing, and never shows a secret.
"""
