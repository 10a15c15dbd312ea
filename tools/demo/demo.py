#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The part of the demo that is no shell: makes the customers, reads the Maildirs.

  demo.py customers COUNT DIR       writes DIR/customers.csv, DIR/domains, DIR/mailboxes (who
                                    exists), DIR/busy (who is deferred at first) and
                                    DIR/providers (of the domains); prints
                                    {"customers":…,"bad_lines":…,"unknown":…}
  demo.py orders MAIL COMPLAINTS DELIVERIES
                                    prints one line for sns_fake.py for each notification, with
                                    address and X-Kairan-Id of mail that lies in the Maildirs
  demo.py show MAIL LANGUAGE        prints one mail as its reader sees it
  demo.py count MAIL                prints {"messages":…,"duplicates":…}
  demo.py greylist PORT FILE        policy server of Postfix: who stands in FILE is deferred once
  demo.py get KEY...                reads an object, prints the values of the keys

The customers are the same each time. All domains are reserved names: no mail could leave.
"""

import csv
import email
import email.policy
import io
import json
import os
import random
import re
import socketserver
import sys

# Share of the list in thousandths, unknown users in thousandths of those, provider.
MIX = (
    ('gmail.example', 290, 40, 'gmail'),
    ('yahoo-japan.example', 180, 40, 'yahoo-japan'),
    ('docomo.example', 105, 34, 'docomo'),
    ('ezweb.example', 75, 38, 'au'),
    ('icloud.example', 70, 40, 'apple'),
    ('softbank.example', 50, 36, 'softbank'),
    ('outlook.example', 35, 30, 'microsoft'),
    ('hotmail.example', 25, 40, 'microsoft'),
    ('ymobile.example', 18, 40, 'ymobile'),
    ('nifty.example', 16, 40, 'nifty'),
    ('ocn.example', 16, 45, 'ocn'),
    ('biglobe.example', 12, 45, 'biglobe'),
    ('so-net.example', 10, 40, 'so-net'),
    ('rakumail.example', 8, 30, 'rakuten'),
)
TAIL_UNKNOWN = 45
TAIL = [a + b + '.example'
        for a in ('aozora-', 'hinode-', 'kisaragi-', 'minato-', 'north', 'midori-', 'sakae-',
                  'lake', 'harbour-', 'tsubame-', 'umi-', 'yamabuki-')
        for b in ('clinic', 'design', 'foods', 'kogyo', 'law', 'school', 'sekkei', 'travel',
                  'works')]
TAIL += ['青葉商店.example', '東京書店.example', 'bücher.example']

FAMILY = (('佐藤', 'sato'), ('鈴木', 'suzuki'), ('高橋', 'takahashi'), ('田中', 'tanaka'),
          ('伊藤', 'ito'), ('渡辺', 'watanabe'), ('山本', 'yamamoto'), ('中村', 'nakamura'),
          ('小林', 'kobayashi'), ('加藤', 'kato'), ('吉田', 'yoshida'), ('山田', 'yamada'),
          ('佐々木', 'sasaki'), ('斎藤', 'saito'), ('松本', 'matsumoto'), ('井上', 'inoue'),
          ('髙木', 'takagi'), ('𠮷野', 'yoshino'), ('渡邉', 'watanabe'), ('東海林', 'shoji'))
GIVEN = (('陽菜', 'hina'), ('蓮', 'ren'), ('結衣', 'yui'), ('大翔', 'hiroto'), ('さくら', 'sakura'),
         ('湊', 'minato'), ('美咲', 'misaki'), ('健太', 'kenta'), ('由美子', 'yumiko'),
         ('浩', 'hiroshi'), ('恵', 'megumi'), ('誠', 'makoto'), ('凛', 'rin'), ('拓也', 'takuya'))
ENGLISH = ('Olivia Brown', 'Noah Tanaka', "Aoife O'Brien", 'José García', 'Liam Smith', 'Priya Nair',
           'Chloé Dubois', 'Søren Kjær', 'Grace Kim', 'Zoë Müller', 'Ana Kovač', 'Mia Chen')
CITIES = (('札幌', 'Sapporo'), ('仙台', 'Sendai'), ('東京', 'Tokyo'), ('横浜', 'Yokohama'),
          ('名古屋', 'Nagoya'), ('京都', 'Kyoto'), ('大阪', 'Osaka'), ('福岡', 'Fukuoka'))
# Names as forms let them in; each must arrive as text and do nothing.
ODD_NAMES = ('Bobby <b>Tables</b>', '"Smith, John" & Sons', "{{name}} ' -- ",
             'Eve\r\nBcc: all@gmail.example', '<script>alert(1)</script>',
             'Rock’n’Roll 🎸 太郎', 'ｶﾀｶﾅ ﾃｽﾄ', 'a' * 200)
HEADER = ('email', 'name', 'locale', 'status', 'consent_at', 'japanese', 'city', 'points')


def ascii_domain(domain):
    return domain.encode('idna').decode()


def local_part(rng, first, last, number):
    form = rng.randrange(5)
    if form == 0:
        return '%s.%s%d' % (first, last, number)
    if form == 1:
        return '%s%s-%d' % (last, first[0], number)
    if form == 2:
        return '%s_%s.%d' % (first[0], last, number)
    if form == 3:
        return '%s+news%d' % (last, number)
    return '%s.%s%d' % (first.capitalize(), last.capitalize(), number)


def customer(rng, number, domain):
    japanese = rng.random() < 0.86
    (kanji, family), (given_kanji, given) = rng.choice(FAMILY), rng.choice(GIVEN)
    city = rng.choice(CITIES)
    name = kanji + ' ' + given_kanji
    if not japanese:
        name = rng.choice(ENGLISH)
        words = re.sub('[^a-z ]', '', name.lower()).split()
        given, family = words[0], words[-1]
    address = local_part(rng, given, family, number) + '@' + domain
    if number < len(ODD_NAMES):
        name = ODD_NAMES[number]
    elif rng.random() < 0.05:
        name = ''
    return [address, name, 'ja' if japanese else 'en', 'left' if rng.random() < 0.015 else 'active',
            '20%02d-%02d-%02dT09:00:00+09:00' % (
                rng.randint(15, 25), rng.randint(1, 12), rng.randint(1, 28)),
            str(japanese).lower(), city[0 if japanese else 1],
            str(rng.choice((0, rng.randrange(10, 5000))))]


def bad_lines(rows):
    """Lines that an import must refuse, each for another reason; some hold two faults."""
    good = ['x', '名前', 'ja', 'active', '2024-04-01T00:00:00+09:00', 'true', '東京', '10']
    for address in ('tanaka.docomo.example', 'love..mika@docomo.example', 'ken.@ezweb.example',
                    '.rin@ezweb.example', '', 'taro@localhost', 'taro@[192.0.2.1]',
                    'ken ito@outlook.example', 'a@gmail.example, b@gmail.example', 'yui@',
                    '@gmail.example', 'ren@-bad.example', 'x' * 65 + '@gmail.example',
                    'who@where@gmail.example', 'hina@gmail..example'):
        yield address, [address] + good[1:]
    for n in range(5):
        yield 'twice', [rows[100 + 7 * n][0].upper()] + good[1:]
        yield 'columns', ['columns%d@gmail.example' % n] + good[1:6 - n % 2]
        yield 'surplus', ['surplus%d@gmail.example' % n] + good[1:] + ['?']
        yield 'time', ['time%d@gmail.example' % n, '名前', 'ja', 'active', 'last summer'] + good[5:]
    yield 'bytes', ['bytes@gmail.example', 'SHIFT_JIS'] + good[2:]


def pick_domains(rng, count):
    domains, tail = [], rng.sample(TAIL, len(TAIL))
    for domain, share, _, _ in MIX:
        domains += [domain] * (count * share // 1000)
    while len(domains) < count:  # a long tail: some larger, many with a handful
        domains.append(tail[int(len(tail) * rng.random() ** 2)])
    rng.shuffle(domains)
    return domains


def customers(count, folder):
    rng = random.Random(20251101)
    unknown_share = {domain: share for domain, _, share, _ in MIX}
    rows, existing, unknown, busy = [], [], 0, []
    for number, domain in enumerate(pick_domains(rng, count)):
        row = customer(rng, number, domain)
        local, domain = row[0].split('@')
        address = (local + '@' + ascii_domain(domain)).lower()
        rows.append(row)
        if rng.randrange(1000) < unknown_share.get(domain, TAIL_UNKNOWN):
            unknown += row[3] == 'active'
            continue
        existing.append(address)
        if len(busy) < 40 and rng.random() < 0.02:
            busy.append(address)
    bad = list(bad_lines(rows))
    lines = [(10 * i + 10, row) for i, row in enumerate(rows)]
    # in the second half, so that a copy never comes before its original
    lines += [(10 * rng.randrange(len(rows) // 2, len(rows)), row) for _, row in bad]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEADER)
    writer.writerows(row for _, row in sorted(lines, key=lambda line: line[0]))
    with open(os.path.join(folder, 'customers.csv'), 'wb') as f:
        f.write(text.getvalue().encode().replace(b'SHIFT_JIS', '佐藤'.encode('shift_jis')))
    domains = {ascii_domain(d) for d in TAIL} | {m[0] for m in MIX}
    for name, content in (('domains', sorted(domains)), ('mailboxes', existing),
                          ('busy', busy), ('providers', ['%s\t%s' % (m[0], m[3]) for m in MIX])):
        with open(os.path.join(folder, name), 'w', encoding='utf-8') as f:
            f.write(''.join(line + '\n' for line in content))
    print(json.dumps({'customers': count, 'bad_lines': len(bad), 'unknown': unknown}))


def files(mail):
    """Every file in every Maildir, in a fixed order."""
    for folder, folders, names in os.walk(mail):
        folders.sort()
        if os.path.basename(folder) in ('new', 'cur'):
            yield from (os.path.join(folder, name) for name in sorted(names))


def headers(mail):
    """Names in lower case and values of the headers of every mail; only what is asked for here
    is read, since the parser of the library takes a minute for 10,000 mails."""
    wanted = (b'delivered-to', b'x-kairan-id', b'x-kairan-campaign', b'message-id')
    for path in files(mail):
        with open(path, 'rb') as f:
            head = re.split(rb'\r?\n\r?\n', f.read(), maxsplit=1)[0]
        fields = {}
        for line in re.sub(rb'\r?\n[ \t]+', b' ', head).splitlines():
            name, _, value = line.partition(b':')
            if name.lower() in wanted:
                fields.setdefault(name.lower().decode(), value.strip().decode())
        yield fields


def orders(mail, complaints, deliveries):
    rng = random.Random(7)
    found = [(m['delivered-to'], m['x-kairan-id']) for m in headers(mail)]
    found = rng.sample(found, min(len(found), deliveries))
    # a provider that reports a complaint has delivered before
    for kind, some in (('delivery', found), ('complaint', found[:complaints])):
        for i, (address, token) in enumerate(some):
            print(json.dumps({'kind': kind, 'address': address, 'token': token,
                              'dialect': 'notification' if i % 2 else 'event',
                              'version': 1 if i % 5 == 0 else 2}))


def show(mail, language):
    for path in files(mail):
        with open(path, 'rb') as f:
            m = email.message_from_binary_file(f, policy=email.policy.default)
        text = m.get_body(('plain',)).get_content()
        if ('様' in text) == (language == 'ja'):
            break
    for name in ('From', 'To', 'Subject', 'Message-ID', 'List-Unsubscribe'):
        value = re.sub(r'\s+', ' ', str(m[name]))
        print('  %s: %s' % (name, value if len(value) < 80 else value[:79] + '…'))
    parts = [part.get_content_type() for part in m.walk() if not part.is_multipart()]
    print('  parts: ' + ', '.join(parts))
    for line in [line for line in text.splitlines() if line.strip()][:4]:
        print('  | ' + line[:76])


def count(mail):
    messages, ids, recipients = 0, set(), set()
    for m in headers(mail):
        messages += 1
        ids.add(m['message-id'])
        recipients.add((m['delivered-to'].lower(), m['x-kairan-campaign']))
    print(json.dumps({'messages': messages,
                      'duplicates': messages - min(len(ids), len(recipients))}))


class Policy(socketserver.StreamRequestHandler):
    def handle(self):
        recipient, busy = '', self.server.busy
        for line in self.rfile:
            line = line.decode().strip().lower()
            if line.startswith('recipient='):
                recipient = line[len('recipient='):]
            if line:
                continue
            action = '450 4.2.0 Mailbox busy, try again later' if recipient in busy else 'dunno'
            busy.discard(recipient)
            self.wfile.write(('action=%s\n\n' % action).encode())


def greylist(port, path):
    socketserver.ThreadingTCPServer.daemon_threads = True
    socketserver.ThreadingTCPServer.request_queue_size = 100
    with socketserver.ThreadingTCPServer(('127.0.0.1', port), Policy) as server:
        with open(path, encoding='ascii') as f:
            server.busy = set(f.read().split())
        print('ready', flush=True)
        server.serve_forever()


def get(keys):
    value = json.load(sys.stdin)
    print(*(json.dumps(value[key]) if isinstance(value[key], (dict, list)) else value[key]
            for key in keys))


def main():
    words = sys.argv[1:]
    if len(words) == 3 and words[0] == 'customers':
        customers(int(words[1]), words[2])
    elif len(words) == 4 and words[0] == 'orders':
        orders(words[1], int(words[2]), int(words[3]))
    elif len(words) == 3 and words[0] == 'show':
        show(*words[1:])
    elif len(words) == 2 and words[0] == 'count':
        count(words[1])
    elif len(words) == 3 and words[0] == 'greylist':
        greylist(int(words[1]), words[2])
    elif len(words) > 1 and words[0] == 'get':
        get(words[1:])
    else:
        sys.exit(__doc__)


if __name__ == '__main__':
    main()
