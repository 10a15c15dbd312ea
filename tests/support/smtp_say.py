#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An SMTP client for tests.

  smtp_say.py raw PORT [--from ADDRESS] [--hold S] < BYTES   sends them as they are, at once, and
                                              prints what is said, until the server closes or is
                                              silent for 1 s; --hold keeps the connection open
  smtp_say.py mail PORT RCPT[,RCPT] [--tls CA] [--sender A] [--from ADDRESS] < MAIL
                                              Python's smtplib; prints the reply to the content, or
                                              to the first command that was refused
  smtp_say.py leave PORT RCPT --tls CA < MAIL   ends TLS in the packet of the final dot
  smtp_say.py many PORT COUNT [--from ADDRESS]   opens COUNT connections; prints the first line of
                                              each, counted by code
  smtp_say.py drip PORT SECONDS               one byte of content a second; prints when and how it ended
"""

import argparse
import collections
import smtplib
import socket
import ssl
import sys
import time


def connect(args):
    source = (args.source, 0) if args.source else None
    host = '::1' if args.source and ':' in args.source else '127.0.0.1'
    return socket.create_connection((host, args.port), 10, source_address=source)


def drain(s, silence):
    said = b''
    s.settimeout(silence)
    try:
        while chunk := s.recv(65536):
            said += chunk
    except OSError:
        pass
    return said


def raw(args):
    with connect(args) as s:
        said = s.recv(65536)
        try:
            s.sendall(sys.stdin.buffer.read())
        except OSError:
            pass
        said += drain(s, 1)
        time.sleep(args.hold)
        sys.stdout.write(said.decode('utf-8', 'replace').replace('\r', ''))


def mail(args):
    content = sys.stdin.buffer.read().replace(b'\r\n', b'\n').replace(b'\n', b'\r\n')
    code, text = 0, b''
    source = (args.source, 0) if args.source else None
    with smtplib.SMTP('127.0.0.1', args.port, 'client.test', 20, source) as c:
        c.ehlo()
        if args.tls:
            c.starttls(context=ssl.create_default_context(cafile=args.tls))
            c.ehlo()
        code, text = c.mail(args.sender)
        for rcpt in args.rcpt.split(','):
            if code < 300:
                code, text = c.rcpt(rcpt)
        if code < 300:
            code, text = c.data(content)
        print(code, text.decode().replace('\n', ' '))


def leave(args):
    content = sys.stdin.buffer.read().replace(b'\r\n', b'\n').replace(b'\n', b'\r\n')
    c = smtplib.SMTP('127.0.0.1', args.port, 'client.test', 20)
    c.starttls(context=ssl.create_default_context(cafile=args.tls))
    c.ehlo()
    c.mail(args.sender)
    c.rcpt(args.rcpt)
    c.docmd('DATA')
    c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    c.sock.sendall(content + b'.\r\n')
    c.sock.setblocking(False)
    try:
        c.sock.unwrap()
    except ssl.SSLWantReadError:
        pass
    c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    c.sock.settimeout(20)
    try:
        c.sock.unwrap()
    except OSError:
        pass


def many(args):
    held, seen = [], collections.Counter()
    for _ in range(args.count):
        s = connect(args)
        s.settimeout(5)
        held.append(s)
        try:
            seen[s.recv(1000)[:3].decode() or 'closed'] += 1
        except OSError:
            seen['reset'] += 1
    print(' '.join('%s=%d' % item for item in sorted(seen.items())))


def drip(args):
    start = time.monotonic()
    with connect(args) as s:
        s.sendall(b'EHLO client.test\r\n')
        said = drain(s, 0.5)
        try:
            while time.monotonic() - start < args.count:
                s.sendall(b'N')
                s.settimeout(0.5)
                try:
                    chunk = s.recv(1000)
                    said = chunk
                    if not chunk or b'421' in chunk:
                        break
                except socket.timeout:
                    pass
        except OSError:
            pass
        print(int(time.monotonic() - start), said.decode().strip()[:60])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('what', choices=('raw', 'mail', 'leave', 'many', 'drip'))
    parser.add_argument('port', type=int)
    parser.add_argument('rest', nargs='?', default='0')
    parser.add_argument('--from', dest='source')
    parser.add_argument('--tls')
    parser.add_argument('--sender', default='')
    parser.add_argument('--hold', type=float, default=0)
    args = parser.parse_args()
    args.rcpt = args.rest
    if args.what in ('many', 'drip'):
        args.count = int(args.rest)
    {'raw': raw, 'mail': mail, 'leave': leave, 'many': many, 'drip': drip}[args.what](args)


if __name__ == '__main__':
    main()
