#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A FAKE Amazon SQS, for tests: one standard queue in memory, JSON protocol (AmazonSQS, service
model 2012-11-05), HTTPS with the certificate of ses_fake.py init. Signatures are verified here,
independently of the product. Nothing talks to Amazon.

    sqs_fake.py serve DIR --queue URL [--region NAME] [--control FILE] [--log FILE] PORT
    sqs_fake.py put PORT < BODIES        one message a line
    sqs_fake.py state PORT               prints {"visible":…, "hidden":…, "deleted":…, …}

put and state speak to PORT + 1 (plain HTTP, loopback), which is of the test, not of SQS.

The control file holds `key = value` lines and may be missing:
    error NAME[:STATUS]   every call is refused with it
    delete_fails N        the next N entries of DeleteMessageBatch fail (with status 200)
    bad_md5 1             MD5OfBody does not fit
    junk 1                answers are no JSON
    no_count 1            messages come without ApproximateReceiveCount
"""

import argparse
import hashlib
import http.server
import json
import os
import re
import ssl
import sys
import threading
import time
import urllib.request
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ses_fake import Refusal, verify  # noqa: E402 # the same independent verifier

HANDLE = re.compile(r'[A-Za-z0-9+/=-]{20,1024}')


class Queue:
    def __init__(self, args):
        self.args = args
        self.lock = threading.Condition()
        self.messages = []  # dicts: id, body, hidden_until, receives, receipt
        self.counts = {'deleted': 0, 'extended': 0, 'received': 0, 'calls': 0, 'refused': 0,
                       'connections': 0}
        self.failed_deletes = 0

    def control(self):
        try:
            with open(self.args.control, encoding='utf-8') as f:
                return {k.strip(): v.strip() for k, v in
                        (line.split('=', 1) for line in f if '=' in line)}
        except (OSError, TypeError):
            return {}

    def put(self, bodies):
        with self.lock:
            for body in bodies:
                self.messages.append({'id': str(uuid.uuid4()), 'body': body, 'hidden_until': 0.0,
                                      'receives': 0, 'receipt': None, 'sent': int(time.time() * 1000)})
            self.lock.notify_all()

    def state(self):
        now = time.monotonic()
        with self.lock:
            hidden = sum(m['hidden_until'] > now for m in self.messages)
            return {'visible': len(self.messages) - hidden, 'hidden': hidden,
                    'receives': [m['receives'] for m in self.messages], **self.counts}

    # ---- the API ----

    def receive(self, order, alive):
        most = order.get('MaxNumberOfMessages', 1)
        wait = order.get('WaitTimeSeconds', 0)
        hide = order.get('VisibilityTimeout', 30)
        if not (isinstance(most, int) and 1 <= most <= 10 and isinstance(wait, int) and
                0 <= wait <= 20 and isinstance(hide, int) and 0 <= hide <= 43200):
            raise Refusal('InvalidParameterValue', 'out of range')
        wanted = order.get('MessageSystemAttributeNames', [])
        end, taken = time.monotonic() + wait, []
        with self.lock:
            while not taken:
                now = time.monotonic()
                for m in self.messages:
                    if m['hidden_until'] <= now and len(taken) < most:
                        m['hidden_until'] = now + hide
                        m['receives'] += 1
                        m['receipt'] = uuid.uuid4().hex * 4 + '/+='
                        taken.append(dict(m))
                if taken or now >= end or not alive():
                    break
                self.lock.wait(min(0.1, end - now))
            self.counts['received'] += len(taken)
        bad = self.control().get('bad_md5') == '1'
        if self.control().get('no_count') == '1':
            wanted = []
        answer = [{'MessageId': m['id'], 'ReceiptHandle': m['receipt'], 'Body': m['body'],
                   'MD5OfBody': hashlib.md5((m['body'] + ('x' if bad else '')).encode()).hexdigest(),
                   **({'Attributes': {'ApproximateReceiveCount': str(m['receives']),
                                      **({'SentTimestamp': str(m['sent'])} if 'SentTimestamp' in wanted else {})}}
                      if 'ApproximateReceiveCount' in wanted else {})} for m in taken]
        return {'Messages': answer} if answer else {}

    def batch(self, order, act):
        entries = order.get('Entries')
        if not entries:
            raise Refusal('EmptyBatchRequest')
        if len(entries) > 10:
            raise Refusal('TooManyEntriesInBatchRequest')
        names = [e['Id'] for e in entries]
        if len(set(names)) != len(names):
            raise Refusal('BatchEntryIdsNotDistinct')
        if not all(re.fullmatch(r'[A-Za-z0-9_-]{1,80}', n) for n in names):
            raise Refusal('InvalidBatchEntryId')
        done, failed = [], []
        with self.lock:
            for e in entries:
                code = act(e)
                if code is None:
                    done.append({'Id': e['Id']})
                else:
                    failed.append({'Id': e['Id'], 'SenderFault': True, 'Code': code,
                                   'Message': 'no'})
        return {'Successful': done, 'Failed': failed} if failed else {'Successful': done}

    def find(self, receipt):
        return next((m for m in self.messages if m['receipt'] == receipt), None)

    def delete(self, entry):
        if not HANDLE.fullmatch(entry.get('ReceiptHandle', '')):
            return 'ReceiptHandleIsInvalid'
        if self.failed_deletes < int(self.control().get('delete_fails', '0')):
            self.failed_deletes += 1
            return 'InternalError'
        m = self.find(entry['ReceiptHandle'])
        if m is not None:  # an old handle succeeds and deletes nothing
            self.messages.remove(m)
            self.counts['deleted'] += 1
        return None

    def extend(self, entry):
        m = self.find(entry.get('ReceiptHandle', ''))
        if m is None:
            return 'ReceiptHandleIsInvalid'
        if m['hidden_until'] <= time.monotonic():
            return 'MessageNotInflight'
        m['hidden_until'] = time.monotonic() + entry['VisibilityTimeout']
        self.counts['extended'] += 1
        return None

    def call(self, target, order, alive):
        if order.get('QueueUrl') != self.args.queue:
            raise Refusal('QueueDoesNotExist', 'The specified queue does not exist.')
        if target == 'AmazonSQS.ReceiveMessage':
            return self.receive(order, alive)
        if target == 'AmazonSQS.DeleteMessageBatch':
            return self.batch(order, self.delete)
        if target == 'AmazonSQS.ChangeMessageVisibilityBatch':
            return self.batch(order, self.extend)
        raise Refusal('UnsupportedOperation', target)


class Request:
    """What ses_fake.verify() looks at."""

    def __init__(self, handler, body):
        self.method, self.body = 'POST', body
        self.path, _, self.query = handler.path.partition('?')
        self.handler = handler

    def header(self, name):
        return self.handler.headers.get(name, '')


def api_handler(queue):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def log_message(self, *args):
            pass

        def setup(self):
            queue.counts['connections'] += 1
            super().setup()

        def reply(self, status, body, name=''):
            self.send_response(status)
            self.send_header('Content-Type', 'application/x-amz-json-1.0')
            self.send_header('x-amzn-RequestId', str(uuid.uuid4()))
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get('Content-Length', '0')))
            control = queue.control()
            queue.counts['calls'] += 1
            try:
                request = Request(self, body)
                verify(request, 'sqs', queue.args.region, time.time())
                signed = self.headers['Authorization'].split('SignedHeaders=')[1].split(',')[0]
                if 'x-amz-target' not in signed.split(';'):
                    raise Refusal('IncompleteSignature', 'x-amz-target is not signed')
                if self.headers.get('Content-Type') != 'application/x-amz-json-1.0' or \
                        self.path != '/':
                    raise Refusal('InvalidAddress', 'not the JSON protocol')
                if control.get('error'):
                    name, _, status = control['error'].partition(':')
                    raise Refusal(name, 'as told', int(status or 400))
                answer = queue.call(self.headers.get('X-Amz-Target', ''), json.loads(body),
                                    lambda: True)
                text = b'<html>' if control.get('junk') == '1' else json.dumps(answer).encode()
                self.reply(200, text)
            except Refusal as r:
                queue.counts['refused'] += 1
                self.reply(r.status, json.dumps({'__type': 'com.amazonaws.sqs#' + r.name,
                                                 'message': r.text}).encode())
            except (BrokenPipeError, ConnectionError, ssl.SSLError):
                self.close_connection = True

    return Handler


def side_handler(queue):
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_POST(self):
            queue.put(json.loads(self.rfile.read(int(self.headers['Content-Length']))))
            self.send_response(204)
            self.end_headers()

        def do_GET(self):
            body = json.dumps(queue.state()).encode()
            self.send_response(200)
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def serve(args):
    queue = Queue(args)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(args.dir, 'server.pem'))
    api = http.server.ThreadingHTTPServer(('127.0.0.1', args.port), api_handler(queue))
    api.daemon_threads = True
    api.socket = context.wrap_socket(api.socket, server_side=True)
    side = http.server.ThreadingHTTPServer(('127.0.0.1', args.port + 1), side_handler(queue))
    side.daemon_threads = True
    threading.Thread(target=side.serve_forever, daemon=True).start()
    api.serve_forever()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest='command')
    p = commands.add_parser('serve')
    p.add_argument('dir')
    p.add_argument('--queue', required=True)
    p.add_argument('--region', default='ap-northeast-1')
    p.add_argument('--control')
    p.add_argument('port', type=int)
    for name in ('put', 'state'):
        commands.add_parser(name).add_argument('port', type=int)
    args = parser.parse_args()
    url = 'http://127.0.0.1:%d/' % (args.port + 1)
    if args.command == 'serve':
        serve(args)
    elif args.command == 'put':
        bodies = [line.rstrip('\n') for line in sys.stdin if line.strip()]
        urllib.request.urlopen(urllib.request.Request(url, json.dumps(bodies).encode()), timeout=10)
    else:
        print(urllib.request.urlopen(url, timeout=10).read().decode())


if __name__ == '__main__':
    main()
