"""What the verbs of the Makefile do, and how tests start real processes. No part of the product."""
