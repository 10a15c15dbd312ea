#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A FAKE Amazon S3, for tests: GetObject of one bucket, path-style (API reference 2006-03-01), HTTPS
with the certificate of ses_fake.py init. Signatures are verified here, independently of the product.
Nothing talks to Amazon.

    s3_fake.py serve DIR --bucket NAME --objects FOLDER [--region NAME] [--log FILE] PORT

An object is the file of its key below FOLDER, read when it is asked for. Keys that begin with "trick-"
are answered by tricks instead: trick-redirect (302 to another key that exists), trick-endless (a body
without end), trick-slow (a byte a second), trick-denied (403). The log has a line for each request:
status, method and path.
"""

import argparse
import http.server
import os
import ssl
import sys
import time
import urllib.parse
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ses_fake import Refusal, verify  # noqa: E402 # the same independent verifier

NO_SUCH_KEY = ('NoSuchKey', 'The specified key does not exist.', 404)


class Request:
    """What ses_fake.verify() looks at."""

    def __init__(self, handler):
        self.method, self.body = handler.command, b''
        self.path, _, self.query = handler.path.partition('?')
        self.handler = handler

    def header(self, name):
        return self.handler.headers.get(name, '')


def handler_of(args):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def log_message(self, *args):
            pass

        def note(self, status):
            if args.log:
                with open(args.log, 'a', encoding='utf-8') as f:
                    f.write('%d %s %s\n' % (status, self.command, self.path))

        def head(self, status, **fields):
            self.note(status)
            self.send_response(status)
            self.send_header('x-amz-request-id', uuid.uuid4().hex[:16].upper())
            for name, value in fields.items():
                self.send_header(name.replace('_', '-'), value)
            self.end_headers()

        def refuse(self, name, text, status):
            body = ('<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>%s</Code><Message>%s'
                    '</Message><RequestId>X</RequestId></Error>' % (name, text)).encode()
            self.head(status, Content_Type='application/xml', Content_Length=str(len(body)))
            self.wfile.write(body)

        def trick(self, name):
            if name == 'redirect':
                self.head(302, Location='/%s/plain' % args.bucket, Content_Length='0')
            elif name == 'denied':
                self.refuse('AccessDenied', 'Access Denied', 403)
            else:
                self.head(200, Content_Type='application/octet-stream', Connection='close')
                chunk = b'x' * 65536 if name == 'endless' else b'x'
                for _ in range(100000):
                    self.wfile.write(chunk)
                    if name == 'slow':
                        time.sleep(1)
            self.close_connection = True

        def do_GET(self):
            try:
                verify(Request(self), 's3', args.region, time.time())
                bucket, _, key = self.path.lstrip('/').partition('/')
                key = urllib.parse.unquote(key)
                if bucket != args.bucket:
                    raise Refusal('NoSuchBucket', 'The specified bucket does not exist', 404)
                if key.startswith('trick-'):
                    self.trick(key[6:])
                    return
                path = os.path.join(args.objects, key)
                if '..' in key or not os.path.isfile(path):
                    raise Refusal(*NO_SUCH_KEY)
                with open(path, 'rb') as f:
                    body = f.read()
                self.head(200, Content_Type='application/octet-stream',
                          Content_Length=str(len(body)))
                self.wfile.write(body)
            except Refusal as r:
                self.refuse(r.name, r.text, r.status if r.status == 404 else 403)
            except (BrokenPipeError, ConnectionError, ssl.SSLError):
                self.close_connection = True

    return Handler


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    p = parser.add_subparsers(required=True, dest='command').add_parser('serve')
    p.add_argument('dir')
    p.add_argument('--bucket', required=True)
    p.add_argument('--objects', required=True)
    p.add_argument('--region', default='eu-west-1')
    p.add_argument('--log')
    p.add_argument('port', type=int)
    args = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(args.dir, 'server.pem'))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', args.port), handler_of(args))
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == '__main__':
    main()
