#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A sender of signed feedback, as man kairan-feedback describes it, for tests.

  webhook_say.py URL KEYHEX [--age S] [--forge body|signature|none|key] < BODY   prints the status
  webhook_say.py URL KEYHEX --times N [--event WORD] [--tokens FILE]   N documents by 16 threads at
                                    once; prints the statuses, counted
"""

import argparse
import collections
import hashlib
import hmac
import http.client
import json
import sys
import threading
import time
import urllib.parse


def post(url, key, body, age=0, forge=''):
    stamp = str(int(time.time()) - age)
    mac = hmac.new(bytes.fromhex(key), stamp.encode() + b'.' + body, hashlib.sha256).hexdigest()
    headers = {'X-Kairan-Timestamp': stamp, 'X-Kairan-Signature': 'v1=' + mac}
    if forge == 'signature':
        headers['X-Kairan-Signature'] = 'v1=' + '0' * 64
    if forge == 'none':
        headers = {}
    if forge == 'body':
        body += b' '
    where = urllib.parse.urlsplit(url)
    c = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
    try:
        c.request('POST', where.path, body, headers)
        return c.getresponse().status
    except OSError as e:
        return type(e).__name__
    finally:
        c.close()


def many(args):
    seen, lock, todo = collections.Counter(), threading.Lock(), iter(range(args.times))
    names = open(args.tokens, encoding='ascii').read().split() if args.tokens else []

    def work():
        while True:
            with lock:
                i = next(todo, None)
            if i is None:
                return
            event = {'id': 'many-%d' % i, 'event': args.event}
            if names:
                event['token'] = names[i % len(names)]
            status = post(args.url, args.key, json.dumps({'version': 1, 'events': [event]}).encode())
            with lock:
                seen[status] += 1

    threads = [threading.Thread(target=work) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print(' '.join('%s=%d' % item for item in sorted(seen.items(), key=str)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('url')
    parser.add_argument('key')
    parser.add_argument('--age', type=int, default=0)
    parser.add_argument('--forge', default='')
    parser.add_argument('--times', type=int, default=0)
    parser.add_argument('--event', default='opened')
    parser.add_argument('--tokens')
    args = parser.parse_args()
    if args.times:
        many(args)
    else:
        print(post(args.url, args.key, sys.stdin.buffer.read(), args.age, args.forge))


if __name__ == '__main__':
    main()
