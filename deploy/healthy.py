"""Asks a server in this container whether it is well: `python healthy.py PORT PATH` exits with 0 if it answers 200."""

import sys
from http.client import HTTPConnection

connection = HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=3)
connection.request("GET", sys.argv[2])
answer = connection.getresponse()
print(answer.status, answer.read(1_000).decode(errors="replace"))
sys.exit(answer.status != 200)
