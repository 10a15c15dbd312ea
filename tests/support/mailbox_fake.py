#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A mailbox that no server would have, for tests: IMAP or POP3 without TLS on the loopback.

  mailbox_fake.py imap|pop3 PORT MAIL ODD HOW

It holds ODD odd mails and, behind them, the mail of the file MAIL; every session starts with what
was not deleted before. HOW says what is odd:
  refused   the server does not hand them out (NO, -ERR)
  gone      IMAP lists them and has none of them
  huge      POP3 says that they have 100 MB
It prints "session", "deleted NUMBER" when one is, "asked NUMBER" when an odd one is asked for.
"""

import re
import socketserver
import sys


class Mailbox(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b'\r\n')

    def note(self, what, number):
        print(what, number, flush=True)

    def handle(self):
        print('session', flush=True)
        self.say('* OK here' if self.server.is_imap else '+OK here')
        gone = set()
        for line in self.rfile:
            words = line.decode().split()
            if not (self.imap if self.server.is_imap else self.pop3)(words, gone):
                break

    def there(self):
        return [n for n in range(1, self.server.odd + 2) if n not in self.server.deleted]

    # ---- IMAP

    def imap(self, words, gone):
        tag, command = words[0], words[1].upper()
        rest = ' '.join(words[2:])
        if command == 'CAPABILITY':
            self.say('* CAPABILITY IMAP4rev1 UIDPLUS')
        elif command == 'SELECT':
            self.say('* OK [UIDVALIDITY 7] it is')
        elif command == 'LOGOUT':
            return False
        elif command == 'UID' and not self.uid(tag, rest):
            return True
        self.say(tag + ' OK done')
        return True

    # false: it has said so itself
    def uid(self, tag, rest):
        if rest.startswith('SEARCH'):
            begin = re.search(r'UID (\d+):', rest)
            there = self.there()
            from_uid = int(begin.group(1)) if begin else 1
            # as RFC 3501 has it: n:* names the last one in any case
            self.say('* SEARCH ' + ' '.join(str(n) for n in there
                                            if n >= from_uid or n == there[-1]))
        elif rest.startswith('FETCH'):
            number = int(rest.split()[1])
            if number > self.server.odd:
                mail = self.server.mail
                self.wfile.write(b'* 1 FETCH (UID %d BODY[]<0> {%d}\r\n%s)\r\n' % (
                    number, len(mail), mail))
            else:
                self.note('asked', number)
                if self.server.how == 'refused':
                    self.say(tag + ' NO [SERVERBUG] internal error')
                    return False
        elif rest.startswith('STORE') and 'Deleted' in rest:
            self.server.deleted.add(int(rest.split()[1]))
            self.note('deleted', int(rest.split()[1]))
        return True

    # ---- POP3

    def pop3(self, words, gone):
        command = words[0].upper()
        if command == 'CAPA':
            self.say('+OK\r\nUSER\r\nUIDL\r\n.')
        elif command == 'UIDL':
            self.say('+OK\r\n' + ''.join('%d id%d\r\n' % (n, n) for n in self.there()) + '.')
        elif command == 'LIST':
            huge = self.server.how == 'huge'
            self.say('+OK\r\n' + ''.join(
                '%d %d\r\n' % (n, 100000000 if huge and n <= self.server.odd else 1000)
                for n in self.there()) + '.')
        elif command == 'RETR':
            self.retr(int(words[1]))
        elif command == 'DELE':
            gone.add(int(words[1]))
            self.say('+OK')
        elif command == 'QUIT':
            for n in gone:
                self.note('deleted', n)
            self.server.deleted |= gone
            self.say('+OK')
            return False
        else:
            self.say('+OK')
        return True

    def retr(self, number):
        if number <= self.server.odd:
            self.note('asked', number)
        if number > self.server.odd:
            self.wfile.write(b'+OK\r\n' + self.server.mail + b'.\r\n')
        elif self.server.how == 'refused':
            self.say('-ERR internal error')
        else:
            try:
                self.say('+OK')
                for _ in range(100000):
                    self.wfile.write(b'x' * 998 + b'\r\n')
                self.say('.')
            except OSError:
                pass


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main():
    kind, port, path, odd, how = sys.argv[1:]
    server = Server(('127.0.0.1', int(port)), Mailbox)
    server.is_imap, server.odd, server.how = kind == 'imap', int(odd), how
    server.deleted = set()
    with open(path, 'rb') as f:
        server.mail = f.read().replace(b'\r\n', b'\n').replace(b'\n', b'\r\n')
    server.serve_forever()


main()
