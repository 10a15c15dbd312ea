#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A FAKE clamd: INSTREAM of clamd(8) to the letter, but it knows one pattern only, the EICAR test
file, and refuses streams above a limit as StreamMaxLength does.

usage: fake_clamd.py SOCKET-PATH|PORT [LIMIT]
"""
import os
import socketserver
import struct
import sys

# in two pieces, so that this file is not found itself
PATTERN = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR" + b"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
LIMIT = int(sys.argv[2]) if len(sys.argv) > 2 else 25 << 20


class Question(socketserver.StreamRequestHandler):
    def handle(self):
        if self.rfile.read(10) != b"zINSTREAM\0":
            self.wfile.write(b"UNKNOWN COMMAND\0")
            return
        stream = b""
        while True:
            head = self.rfile.read(4)
            size = struct.unpack("!L", head)[0] if len(head) == 4 else 0
            if size == 0:
                break
            stream += self.rfile.read(size)
            if len(stream) > LIMIT:
                self.wfile.write(b"INSTREAM size limit exceeded. ERROR\0")
                return
        found = PATTERN in stream
        self.wfile.write(b"stream: Eicar-Test-Signature FOUND\0" if found else b"stream: OK\0")


if sys.argv[1].isdigit():
    server = socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), Question)
else:
    if os.path.exists(sys.argv[1]):
        os.unlink(sys.argv[1])
    server = socketserver.ThreadingUnixStreamServer(sys.argv[1], Question)
server.daemon_threads = True
server.serve_forever()
