#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A FAKE Amazon SES API v2, for tests: it sends nothing and talks to nobody. HTTPS with a
certificate of its own authority; signatures are verified here, independently of the product.
What it does to a message is told by the recipient's local part, what it does to all by a control
file; what it took is written to a log, one JSON line a message, before the answer: the ground
truth of a test.

    ses_fake.py init DIR              makes DIR/ca.pem, DIR/server.pem (for 127.0.0.1, localhost)
    ses_fake.py serve DIR --log FILE [--control FILE] [--lost FILE] [--region NAME] PORT AGENT_PORT

AGENT_PORT speaks plain HTTP and hands out credentials: GET /container (as ECS, with Authorization:
agent-secret), the metadata service (version 2) below /latest, and STS (AssumeRole, signed, and
AssumeRoleWithWebIdentity). Long-term keys: AKIDEXAMPLE and the secret of Amazon's examples.

Local parts begin with
    reject   400 MessageRejected                bad      400 BadRequestException
    sandbox  400 MessageRejected, names the recipient as not verified
    throttle 429, the first `times` times       busy     503 ServiceUnavailable, the first `times`
    broken   500 InternalServiceErrorException  kept500  the same, and it is taken
    page500  500 with a page, not taken         page     400, a page of 5 MB, first `times`
    junk     200 that is no JSON, taken         half     200 cut in the middle, taken
    drop     no answer, the connection closes; taken or not as `drop` says
    stall    no answer at all, taken            slow     an answer after `slow_s`
    trickle  an answer byte by byte, over `slow_s`
anything else is taken.

SendEmail takes Raw and Simple, SendBulkEmail a template that comes with the request; members that
the published format does not have are refused. In SendBulkEmail a recipient is answered for by himself:
    reject, sandbox  MESSAGE_REJECTED     bad   INVALID_PARAMETER     failed   FAILED
    throttle         ACCOUNT_THROTTLED    busy  TRANSIENT_FAILURE, the first `times` times
    paused           ACCOUNT_SENDING_PAUSED, the first `times` times
and all of a request suffer from one of them:
    syntax   400 BadRequestException      broken, kept500, drop, junk, half   as above
    short    200 with an answer for the first only, all taken

The control file holds `key = value` lines and may be missing:
    mode      ok (default), refuse (nobody listens), reset (connections end before any request)
    drop      lost (default) or kept
    times     2     slow_s 1    delay_ms 0
    error     NAME or NAME:STATUS: every message is refused with it; text: its message
    errors          NAME NAME ...: the next messages are refused with them, one each; the names used are
                    in DIR/refused
    rate      0     messages a second (counted over 0.75 s), more are refused with 429; max_rate: what GetAccount
                    says
    quota     0     messages in all, more are refused with LimitExceededException
    skew_s    0     its clock before ours; a signature older than 5 minutes is refused
    expired   word  session tokens that contain it have expired
    sandbox   0     1: PutSuppressedDestination is refused, as are recipients that are not verified, and GetAccount
                    says so
    identities      NAME NAME ...: verified addresses and domains; with ? behind it, one that is pending
    page      1000  entries of a page of the suppression list at most
    others    0     1: actions other than sending are refused with 429 above one a second
    die_after 0     every connection ends, without an answer, at its request number N + 1; lost

--lost gets a line (time, data or answer) for each client that went away in the middle of a request, or before
its answer. DIR/account.asked gets a line for each GetAccount. The account suppression list is DIR/suppressed.json, a JSON object from address to BOUNCE or COMPLAINT,
which a test may write; DIR/suppression.log has a line for each request about it.

A line of the log: at, to, kairan_id, what it says (run, send, attempt; not verified), message_id
(the header), ses_id, tags, configuration_set, kept, answered, connection, call (number of the
request), content (raw, simple or bulk); of the latter two subject, text, html, headers, reply_to, order
(members of the request besides).
"""

import argparse
import asyncio
import base64
import datetime
import email.parser
import email.utils
import hashlib
import hmac
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
import urllib.parse
import uuid

from fake_relay import decode_token

SECRET = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY'
DEFAULTS = {'mode': 'ok', 'drop': 'lost', 'times': '2', 'slow_s': '1', 'delay_ms': '0',
            'error': '', 'text': '', 'errors': '', 'rate': '0', 'max_rate': '100000', 'quota': '0',
            'skew_s': '0', 'expired': '', 'die_after': '0', 'sandbox': '0', 'page': '1000',
            'others': '0', 'life_s': '3600', 'identities': ''}
STATUS = {'TooManyRequestsException': 429, 'NotFoundException': 404, 'ConflictException': 409,
          'ConcurrentModificationException': 500, 'InternalServiceErrorException': 500,
          'InternalFailure': 500, 'ServiceUnavailable': 503, 'AccessDeniedException': 403,
          'ExpiredTokenException': 403, 'InvalidSignatureException': 403,
          'SignatureDoesNotMatch': 403, 'UnrecognizedClientException': 403,
          'InvalidClientTokenId': 403, 'OptInRequired': 403,
          'MissingAuthenticationTokenException': 403}
UNVERIFIED = ('Email address is not verified. The following identities failed the check in '
              'region %s: %s')


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def init(folder):
    os.makedirs(folder, exist_ok=True)
    path = lambda name: os.path.join(folder, name)
    run('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', path('ca.key'),
        '-out', path('ca.pem'), '-days', '2', '-subj', '/CN=Fake authority of the tests')
    run('openssl', 'req', '-newkey', 'rsa:2048', '-nodes', '-keyout', path('server.key'),
        '-out', path('request.pem'), '-subj', '/CN=fake SES')
    with open(path('server.cnf'), 'w', encoding='ascii') as f:
        f.write('subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n')
    run('openssl', 'x509', '-req', '-in', path('request.pem'), '-CA', path('ca.pem'), '-CAkey',
        path('ca.key'), '-set_serial', '7', '-days', '2', '-extfile', path('server.cnf'),
        '-out', path('leaf.pem'))
    with open(path('server.pem'), 'wb') as out:
        for name in ('leaf.pem', 'server.key'):
            with open(path(name), 'rb') as f:
                out.write(f.read())


TOP = {'FromEmailAddress', 'FromEmailAddressIdentityArn', 'ReplyToAddresses', 'TenantName',
       'FeedbackForwardingEmailAddress', 'FeedbackForwardingEmailAddressIdentityArn',
       'ConfigurationSetName', 'EndpointId', 'ListManagementOptions'}


class Refusal(Exception):
    def __init__(self, name, text='', status=None):
        super().__init__(name)
        self.name, self.text = name, text
        self.status = status or STATUS.get(name, 400)


def known(members, names):
    """Members that the service model does not have."""
    if set(members) - names:
        raise Refusal('BadRequestException', 'unknown members %s' % sorted(set(members) - names))


def substitute(text, data):
    """Simple substitution, as templates that come with a request have it; values as they are."""
    if re.search(r'\{\{\{|\}\}\}|\\\{\{', text):
        raise Refusal('BadRequestException', 'a template that is more than simple substitution')

    def value(match):
        if not re.fullmatch(r'[A-Za-z_][A-Za-z0-9_]*', match[1]):
            raise Refusal('BadRequestException', 'not a simple substitution: %s' % match[1])
        return data[match[1]]
    return re.sub(r'\{\{(.*?)\}\}', value, text)


def secret_of(access_key):
    """Temporary keys carry what their secret is made of."""
    if access_key == 'AKIDEXAMPLE':
        return SECRET
    if access_key.startswith('ASIA'):
        return hashlib.sha256(access_key.encode()).hexdigest()
    return None


def token_of(access_key):
    return 'token-of-%s/+=' % access_key


def quote(text):
    return urllib.parse.quote(text, safe='-_.~')


class Request:
    def __init__(self, method, target, headers, body):
        self.method, self.headers, self.body = method, headers, body
        self.path, _, self.query = target.partition('?')

    def header(self, name):
        return self.headers.get(name, '')


def verify(request, service, region, now, expired=''):
    """AWS Signature Version 4 from its description; raises a Refusal."""
    m = re.fullmatch(r'AWS4-HMAC-SHA256 Credential=([^/,]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, '
                     r'SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})',
                     request.header('authorization'))
    if m is None:
        raise Refusal('MissingAuthenticationTokenException' if not
                      request.header('authorization') else 'IncompleteSignature')
    key, day, signed_region, signed_service, names, signature = m.groups()
    secret = secret_of(key)
    if secret is None:
        raise Refusal('UnrecognizedClientException', 'The security token is invalid')
    if (signed_region, signed_service) != (region, service):
        raise Refusal('SignatureDoesNotMatch', 'scope %s/%s' % (signed_region, signed_service))
    token = request.header('x-amz-security-token')
    names = names.split(';')
    if key.startswith('ASIA'):
        if token != token_of(key) or 'x-amz-security-token' not in names:
            raise Refusal('UnrecognizedClientException', 'The token does not belong to the key')
        if expired and expired in token:
            raise Refusal('ExpiredTokenException', 'The security token has expired')
    if names != sorted(names) or not {'host', 'x-amz-date'} <= set(names):
        raise Refusal('IncompleteSignature')
    if request.body and 'content-type' not in names:
        raise Refusal('IncompleteSignature')
    digest = hashlib.sha256(request.body).hexdigest()
    if service == 's3' and ('x-amz-content-sha256' not in names or
                            request.header('x-amz-content-sha256') != digest):
        raise Refusal('XAmzContentSHA256Mismatch')
    stamp = request.header('x-amz-date')
    try:
        at = datetime.datetime.strptime(stamp, '%Y%m%dT%H%M%SZ').replace(
            tzinfo=datetime.timezone.utc).timestamp()
    except ValueError:
        raise Refusal('IncompleteSignature') from None
    if abs(at - now) > 300:
        raise Refusal('InvalidSignatureException', 'Signature %s: %s' % (
            'expired' if at < now else 'not yet current', stamp))
    query = sorted(tuple(quote(urllib.parse.unquote(x)) for x in (p + '=').split('=')[:2])
                   for p in request.query.split('&') if p)
    canonical = '\n'.join([
        request.method,  # S3 alone signs the path as it is sent
        request.path if service == 's3' else urllib.parse.quote(request.path, safe='/-_.~'),
        '&'.join('%s=%s' % p for p in query)] +
        ['%s:%s' % (n, ' '.join(request.header(n).split())) for n in names] +
        ['', ';'.join(names), digest])
    scope = '%s/%s/%s/aws4_request' % (day, region, service)
    text = '\n'.join(['AWS4-HMAC-SHA256', stamp, scope,
                      hashlib.sha256(canonical.encode()).hexdigest()])
    k = ('AWS4' + secret).encode()
    for part in (day, region, service, 'aws4_request'):
        k = hmac.new(k, part.encode(), 'sha256').digest()
    if not hmac.compare_digest(hmac.new(k, text.encode(), 'sha256').hexdigest(), signature) or \
            not stamp.startswith(day):
        raise Refusal('InvalidSignatureException', 'The request signature we calculated does not '
                      'match the signature you provided.')


class Drop(Exception):
    """The connection ends without an answer."""


class Fake:
    def __init__(self, args):
        self.args = args
        self.settings, self.stamp = dict(DEFAULTS), None
        self.used = 0  # of `errors`
        self.server = None
        self.writers = set()
        self.seen, self.taken, self.connections, self.given = {}, 0, 0, 0
        self.calls = 0
        self.tokens = []  # times at which messages were let through, for the rate
        self.other_at = 0
        self.log = os.open(args.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(os.path.join(args.dir, 'server.pem'))

    def number(self, key):
        return float(self.settings[key])

    def now(self):
        return time.time() + self.number('skew_s')

    def read_control(self):
        try:
            st = os.stat(self.args.control)
            stamp = (st.st_mtime_ns, st.st_ino, st.st_size)
            if stamp == self.stamp:
                return
            with open(self.args.control, encoding='utf-8') as f:
                lines = [line.split('=', 1) for line in f if '=' in line]
        except (FileNotFoundError, TypeError):
            stamp, lines = None, []
        self.stamp = stamp
        self.settings, self.used = dict(DEFAULTS), 0
        for key, value in lines:
            if key.strip() not in DEFAULTS:
                raise SystemExit('unknown setting %s' % key.strip())
            self.settings[key.strip()] = value.strip()

    async def follow_control(self):
        while True:
            self.read_control()
            refuse = self.settings['mode'] == 'refuse'
            if refuse and self.server is not None:
                self.server.close()
                self.server = None
                for writer in list(self.writers):
                    writer.transport.abort()
            elif not refuse and self.server is None:
                self.server = await asyncio.start_server(
                    self.serve_ses, '127.0.0.1', self.args.port, ssl=self.context,
                    reuse_address=True, limit=1 << 16)
            await asyncio.sleep(0.02)

    # ---- HTTP ----

    async def read_request(self, reader):
        head = await reader.readuntil(b'\r\n\r\n')
        lines = head.decode('latin-1').split('\r\n')
        method, target, _ = lines[0].split(' ')
        headers = {}
        for line in lines[1:]:
            if line:
                name, _, value = line.partition(':')
                headers[name.lower()] = value.strip()
        body = await reader.readexactly(int(headers.get('content-length', '0')))
        return Request(method, target, headers, body)

    def head(self, status, kind, length, name=''):
        lines = ['HTTP/1.1 %d Fake' % status, 'Content-Type: ' + kind,
                 'Content-Length: %d' % length, 'x-amzn-RequestId: %s' % uuid.uuid4(),
                 'Date: ' + email.utils.formatdate(self.now(), usegmt=True)]
        if name:
            lines.append('x-amzn-ErrorType: %s:http://internal.amazon.com/coral/' % name)
        return ('\r\n'.join(lines) + '\r\n\r\n').encode()

    def answer(self, writer, status, value, name=''):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        writer.write(self.head(status, 'application/json', len(body), name) + body)

    async def serve_ses(self, reader, writer):
        self.connections += 1
        number, count = self.connections, 0
        self.writers.add(writer)
        try:
            while self.settings['mode'] != 'reset':
                request = await self.read_request(reader)
                count += 1
                die = int(self.number('die_after'))
                if die > 0 and count > die:
                    break
                if self.number('delay_ms') > 0:
                    await asyncio.sleep(self.number('delay_ms') / 1000)
                try:
                    verify(request, 'ses', self.args.region, self.now(),
                           self.settings['expired'])
                    await self.dispatch(request, writer, number)
                except Refusal as refusal:
                    self.answer(writer, refusal.status, {'message': refusal.text}, refusal.name)
                await writer.drain()
                if reader.at_eof():
                    self.note_lost('answer')
        except asyncio.IncompleteReadError as e:
            if e.partial:
                self.note_lost('data')
        except (Drop, ConnectionError, ssl.SSLError):
            pass
        finally:
            self.writers.discard(writer)
            writer.transport.abort()

    def note_lost(self, what):
        """A client that went away in the middle of a request, or before it had its answer."""
        if self.args.lost:
            with open(self.args.lost, 'a', encoding='ascii') as f:
                f.write(f'{time.time():.3f} {what}\n')

    # ---- the API ----

    async def dispatch(self, request, writer, number):
        what = (request.method, request.path)
        if what == ('POST', '/v2/email/outbound-emails'):
            await self.send_email(request, writer, number)
        elif what == ('POST', '/v2/email/outbound-bulk-emails'):
            await self.send_bulk(request, writer, number)
        elif what == ('GET', '/v2/email/account'):
            self.account(writer)
        elif what == ('GET', '/v2/email/identities'):
            self.identities(dict(urllib.parse.parse_qsl(request.query)), writer)
        elif request.path.startswith('/v2/email/suppression/addresses'):
            self.suppression(request, writer)
        else:
            raise Refusal('NotFoundException', 'no such resource')

    def account(self, writer):
        with open(os.path.join(self.args.dir, 'account.asked'), 'a', encoding='ascii') as f:
            print(time.time(), file=f)
        self.answer(writer, 200, {
            'DedicatedIpAutoWarmupEnabled': False, 'EnforcementStatus': 'HEALTHY',
            'ProductionAccessEnabled': not self.number('sandbox'), 'SendingEnabled': True,
            'SendQuota': {'Max24HourSend': self.number('quota') or -1.0,
                          'MaxSendRate': self.number('max_rate'),
                          'SentLast24Hours': float(self.taken)},
            'SuppressionAttributes': {'SuppressedReasons': ['BOUNCE', 'COMPLAINT']}})

    def identities(self, query, writer):
        """A page of two, so that there are pages."""
        if set(query) - {'NextToken', 'PageSize'} or not 1 <= int(query.get('PageSize', '100')) <= 1000:
            raise Refusal('BadRequestException', 'Invalid query')
        names = self.settings['identities'].split()
        first = int(query.get('NextToken', '0/').split('/')[0])
        page = {'EmailIdentities': [
            {'IdentityName': n.rstrip('?'), 'IdentityType': 'EMAIL_ADDRESS' if '@' in n else 'DOMAIN',
             'SendingEnabled': not n.endswith('?'),
             'VerificationStatus': 'PENDING' if n.endswith('?') else 'SUCCESS'}
            for n in names[first:first + 2]]}
        if first + 2 < len(names):
            page['NextToken'] = '%d/+=' % (first + 2)
        self.answer(writer, 200, page)

    def verified(self, to):
        names = self.settings['identities'].lower().split()
        domain = to.partition('@')[2]
        return not self.number('sandbox') or domain == 'simulator.amazonses.com' or to in names or \
            any(domain == n or domain.endswith('.' + n) for n in names)

    def suppressed(self, change=None):
        """The list as the file has it, with a change written back."""
        path = os.path.join(self.args.dir, 'suppressed.json')
        try:
            with open(path, encoding='utf-8') as f:
                rows = json.load(f)
        except FileNotFoundError:
            rows = {}
        if change is not None:
            change(rows)
            with open(path + '.new', 'w', encoding='utf-8') as f:
                json.dump(rows, f)
            os.rename(path + '.new', path)
        return rows

    def suppression(self, request, writer):
        base = '/v2/email/suppression/addresses'
        address = urllib.parse.unquote(request.path[len(base):].lstrip('/'))
        now = time.monotonic()
        if self.number('others') and now - self.other_at < 0.95:
            raise Refusal('TooManyRequestsException', 'Rate exceeded')
        self.other_at = now
        with open(os.path.join(self.args.dir, 'suppression.log'), 'a', encoding='utf-8') as f:
            f.write('%s %s\n' % (request.method, address or request.query or '-'))
        if request.method == 'PUT':
            self.suppression_put(json.loads(request.body), writer)
        elif request.method == 'GET' and not address:
            self.suppression_list(dict(urllib.parse.parse_qsl(request.query)), writer)
        elif address not in self.suppressed():
            raise Refusal('NotFoundException',
                          'Email address %s does not exist on your suppression list.' % address)
        elif request.method == 'DELETE':
            self.suppressed(lambda rows: rows.pop(address))
            self.answer(writer, 200, {})
        else:
            self.answer(writer, 200, {'SuppressedDestination': self.entry(address)})

    def entry(self, address):
        return {'EmailAddress': address, 'Reason': self.suppressed()[address],
                'LastUpdateTime': 1763800000.123}

    def suppression_put(self, order, writer):
        if set(order) != {'EmailAddress', 'Reason'} or order['Reason'] not in ('BOUNCE', 'COMPLAINT'):
            raise Refusal('BadRequestException', 'Invalid request')
        if self.number('sandbox') or '@bad.' in order['EmailAddress']:
            raise Refusal('BadRequestException', 'Not allowed')
        self.suppressed(lambda rows: rows.update({order['EmailAddress']: order['Reason']}))
        self.answer(writer, 200, {})

    def suppression_list(self, query, writer):
        if set(query) - {'NextToken', 'PageSize', 'Reason', 'StartDate', 'EndDate'} or \
                not 1 <= int(query.get('PageSize', '100')) <= 1000:
            raise Refusal('BadRequestException', 'Invalid query')
        rows = sorted(self.suppressed())
        first = int(query.get('NextToken', '0/').split('/')[0])
        size = min(int(query.get('PageSize', '100')), int(self.number('page')))
        page = {'SuppressedDestinationSummaries': [self.entry(r) for r in rows[first:first + size]]}
        if first + size < len(rows):
            page['NextToken'] = '%d/+=' % (first + size)
        self.answer(writer, 200, page)

    def put_off(self, address):
        n = self.seen.get(address, 0)
        if n >= self.number('times'):
            return False
        self.seen[address] = n + 1
        return True

    def limits(self, recipients=1):
        if self.settings['error']:
            name, _, status = self.settings['error'].partition(':')
            raise Refusal(name, self.settings['text'], int(status or 0))
        names = self.settings['errors'].split()
        if self.used < len(names):
            self.used += 1
            with open(os.path.join(self.args.dir, 'refused'), 'a', encoding='utf-8') as f:
                f.write(names[self.used - 1] + '\n')
            raise Refusal(names[self.used - 1], 'once')
        if self.number('quota') > 0 and self.taken >= self.number('quota'):
            raise Refusal('LimitExceededException', 'Daily message quota exceeded.')
        if self.number('rate') > 0:
            now = time.monotonic()
            # a quarter of the second is left for what a busy machine does to the way here
            self.tokens = [t for t in self.tokens if t > now - 0.75]
            if len(self.tokens) >= self.number('rate'):
                raise Refusal('TooManyRequestsException', 'Maximum sending rate exceeded.')
            self.tokens.extend([now] * recipients)

    def write(self, order, message, to, number, kept, answered):
        tags = {t['Name']: t['Value'] for t in order.get('EmailTags', [])}
        if not all(re.fullmatch(r'[A-Za-z0-9_-]{1,256}', x) for x in [*tags, *tags.values()]):
            raise Refusal('BadRequestException', 'a tag has other characters')
        ses_id = '0101%012x-%s-000000' % (int(time.time() * 1000), uuid.uuid4())
        record = {'at': time.time(), 'to': [to], 'from': message.get('From', ''),
                  'kairan_id': message.get('X-Kairan-Id', ''), 'envid': tags.get('kairan', ''),
                  'message_id': message.get('Message-ID', ''), 'ses_id': ses_id, 'tags': tags,
                  'configuration_set': order.get('ConfigurationSetName', ''), 'kept': kept,
                  'answered': answered, 'connection': number, 'call': self.calls,
                  'content': 'raw'}
        record.update(message.get('fake', {}) if isinstance(message, dict) else {})
        record.update(decode_token(tags.get('kairan', '')))
        os.write(self.log, (json.dumps(record, sort_keys=True) + '\n').encode())
        os.fdatasync(self.log)  # the truth survives whatever is killed next
        self.taken += kept
        return ses_id

    @staticmethod
    def assembled(order, content, parts, headers, reply_to):
        """A message that is put together here: what its From, X-Kairan-Id and texts are."""
        known(order, TOP | {'Content', 'EmailTags', 'DefaultContent', 'DefaultEmailTags',
                            'BulkEmailEntries', 'Destination'})
        if len(headers) > 15:
            raise Refusal('BadRequestException', 'more than 15 headers')
        for h in headers:
            known(h, {'Name', 'Value'})
            if not re.fullmatch(r'[!-9;-~]{1,126}', h['Name']) or \
                    not re.fullmatch(r'[ -~]{1,995}', h['Value']) or \
                    len(h['Name'] + h['Value']) > 996:
                raise Refusal('BadRequestException', 'a header that is none')
        fields = {h['Name']: h['Value'] for h in headers}
        if len(fields) != len(headers) or not parts.get('Subject') or \
                not (parts.get('Text') or parts.get('Html')) or not order['FromEmailAddress'].isascii():
            raise Refusal('BadRequestException', 'an incomplete message')
        rest = {k: v for k, v in order.items() if isinstance(v, str)}
        return {**fields, 'From': order['FromEmailAddress'],
                'fake': {'content': content, 'subject': parts['Subject'], 'headers': fields,
                         'text': parts.get('Text', ''), 'html': parts.get('Html', ''),
                         'reply_to': reply_to, 'order': rest}}

    def simple(self, order):
        simple = order['Content']['Simple']
        known(simple, {'Subject', 'Body', 'Headers', 'Attachments'})
        known(simple['Body'], {'Text', 'Html'})
        for part in [simple['Subject'], *simple['Body'].values()]:
            known(part, {'Data', 'Charset'})
            if part.get('Charset') != 'UTF-8':
                raise Refusal('BadRequestException', 'no charset')
        parts = {k: v['Data'] for k, v in simple['Body'].items()}
        parts['Subject'] = simple['Subject']['Data']
        return self.assembled(order, 'simple', parts, simple.get('Headers', []),
                              order.get('ReplyToAddresses', []))

    def raw(self, order):
        raw = base64.b64decode(order['Content']['Raw']['Data'], validate=True)
        if any(len(line) > 998 for line in raw.split(b'\r\n')) or b'\n' in raw.replace(b'\r\n', b''):
            raise Refusal('BadRequestException', 'lines')
        return email.parser.BytesHeaderParser().parsebytes(raw)

    async def send_email(self, request, writer, number):
        if request.header('content-type') != 'application/json':
            raise Refusal('BadRequestException', 'not JSON')
        self.calls += 1
        try:
            order = json.loads(request.body)
            to, = order['Destination']['ToAddresses']
            to = email.utils.parseaddr(to)[1] if '<' in to else to
            message = self.raw(order) if 'Raw' in order['Content'] else self.simple(order)
        except (ValueError, KeyError, TypeError) as why:
            raise Refusal('BadRequestException', 'not understood: %s' % why) from None
        self.limits()
        await self.by_local_part(order, message, to, writer, number)

    def bulk_entry(self, order, template, entry):
        """(recipient, order as of SendEmail, message) of one entry."""
        known(entry, {'Destination', 'ReplacementTags', 'ReplacementEmailContent',
                      'ReplacementHeaders'})
        to, = entry['Destination']['ToAddresses']
        data = json.loads(template.get('TemplateData', '{}'))
        replacement = entry.get('ReplacementEmailContent', {'ReplacementTemplate': {}})
        known(replacement, {'ReplacementTemplate'})
        known(replacement['ReplacementTemplate'], {'ReplacementTemplateData'})
        text = replacement['ReplacementTemplate'].get('ReplacementTemplateData', '{}')
        if len(text) > 262144:
            raise Refusal('BadRequestException', 'template data too long')
        data.update(json.loads(text))
        parts = {k: substitute(v, data) for k, v in template['TemplateContent'].items()}
        headers = {h['Name'].lower(): h for h in template.get('Headers', []) +
                   entry.get('ReplacementHeaders', [])}
        tags = {t['Name']: t for t in order.get('DefaultEmailTags', []) +
                entry.get('ReplacementTags', [])}
        message = self.assembled(order, 'bulk', parts, list(headers.values()),
                                 order.get('ReplyToAddresses', []))
        to = email.utils.parseaddr(to)[1] if '<' in to else to
        return to, {**order, 'EmailTags': list(tags.values())}, message

    async def send_bulk(self, request, writer, number):
        if request.header('content-type') != 'application/json':
            raise Refusal('BadRequestException', 'not JSON')
        self.calls += 1
        try:
            if len(request.body) > 1_000_000:
                raise ValueError('more than 1 MB')
            order = json.loads(request.body)
            known(order['DefaultContent'], {'Template'})
            template = order['DefaultContent']['Template']
            known(template, {'TemplateContent', 'TemplateData', 'Headers'})
            known(template['TemplateContent'], {'Subject', 'Text', 'Html'})
            entries = [self.bulk_entry(order, template, e) for e in order['BulkEmailEntries']]
            if not 1 <= len(entries) <= 50:
                raise ValueError('%d entries' % len(entries))
        except (ValueError, KeyError, TypeError) as why:
            raise Refusal('BadRequestException', 'not understood: %s' % why) from None
        self.limits(len(entries))
        await self.by_worst(entries, writer, number)

    async def by_worst(self, entries, writer, number):
        has = lambda word: any(to.startswith(word) for to, _, _ in entries)
        if has('syntax'):
            raise Refusal('BadRequestException', 'Missing final \'@domain\'' if len(entries) == 1
                          else 'one of the recipients')
        kept = not has('broken') and not (has('drop') and self.settings['drop'] != 'kept')
        known_to_sender = not (has('kept500') or has('drop') or has('junk') or has('half') or
                               has('short'))
        results = [self.by_entry(e, number, kept, known_to_sender and kept) for e in entries]
        if has('broken') or has('kept500'):
            raise Refusal('InternalServiceErrorException', 'something went wrong')
        if has('drop'):
            raise Drop
        if has('junk'):
            self.answer(writer, 200, b'<html>ok</html>')
            return
        if has('short'):
            results = results[:1]
        text = json.dumps({'BulkEmailEntryResults': results}).encode()
        if has('half'):
            writer.write(self.head(200, 'application/json', len(text)) + text[:-4])
            await writer.drain()
            raise Drop
        self.answer(writer, 200, {'BulkEmailEntryResults': results})

    def by_entry(self, entry, number, kept, answered):
        to, order, message = entry
        refused = {'reject': ('MESSAGE_REJECTED', 'Invalid content'),
                   'sandbox': ('MESSAGE_REJECTED', UNVERIFIED % (self.args.region.upper(), to)),
                   'bad': ('INVALID_PARAMETER', 'Missing required header'),
                   'failed': ('FAILED', 'Failure')}
        later = {'throttle': ('ACCOUNT_THROTTLED', 'Maximum sending rate exceeded.'),
                 'busy': ('TRANSIENT_FAILURE', 'try later'),
                 'paused': ('ACCOUNT_SENDING_PAUSED', 'paused')}
        for word, (status, error) in refused.items():
            if to.startswith(word) or (word == 'sandbox' and not self.verified(to)):
                return {'Status': status, 'Error': error}
        for word, (status, error) in later.items():
            if to.startswith(word) and self.put_off(to):
                return {'Status': status, 'Error': error}
        return {'Status': 'SUCCESS',
                'MessageId': self.write(order, message, to, number, kept, answered)}

    async def by_local_part(self, order, message, to, writer, number):
        begins = lambda word: to.startswith(word)
        take = lambda kept, answered: self.write(order, message, to, number, kept, answered)
        if begins('reject'):
            raise Refusal('MessageRejected', 'Invalid content')
        if begins('sandbox') or not self.verified(to):
            raise Refusal('MessageRejected', UNVERIFIED % (self.args.region.upper(), to))
        if begins('bad'):
            raise Refusal('BadRequestException', 'Missing required header')
        if begins('throttle') and self.put_off(to):
            raise Refusal('TooManyRequestsException', 'Maximum sending rate exceeded.')
        if begins('busy') and self.put_off(to):
            raise Refusal('ServiceUnavailable', 'try later')
        if begins('broken') or begins('kept500'):
            take(begins('kept500'), False)
            raise Refusal('InternalServiceErrorException', 'something went wrong')
        if begins('page500'):
            take(False, False)
            page = b'<html><body>Internal error</body></html>'
            writer.write(self.head(500, 'text/html', len(page)) + page)
            return
        if begins('page') and self.put_off(to):
            page = b'<html>' + b'x' * 5_000_000
            writer.write(self.head(400, 'text/html', len(page)) + page)
            await writer.drain()
            return
        if begins('drop'):
            take(self.settings['drop'] == 'kept', False)
            raise Drop
        ses_id = take(True, re.match('junk|half|stall', to) is None)
        if begins('junk'):
            self.answer(writer, 200, b'<html>ok</html>')
        elif begins('half'):
            text = json.dumps({'MessageId': ses_id}).encode()
            writer.write(self.head(200, 'application/json', len(text)) + text[:-4])
            await writer.drain()
            raise Drop
        elif begins('stall'):
            await asyncio.sleep(3600)
        elif begins('trickle'):
            text = json.dumps({'MessageId': ses_id}).encode()
            writer.write(self.head(200, 'application/json', len(text)))
            for i in range(len(text)):
                writer.write(text[i:i + 1])
                await writer.drain()
                await asyncio.sleep(self.number('slow_s') / len(text))
        else:
            if begins('slow'):
                await asyncio.sleep(self.number('slow_s'))
            self.answer(writer, 200, {'MessageId': ses_id})

    # ---- those who hand out credentials ----

    def keys(self):
        self.given += 1
        key = 'ASIAEXAMPLE%04d' % self.given
        until = datetime.datetime.fromtimestamp(
            time.time() + self.number('life_s'), datetime.timezone.utc)
        return {'AccessKeyId': key, 'SecretAccessKey': secret_of(key), 'Token': token_of(key),
                'Expiration': until.strftime('%Y-%m-%dT%H:%M:%SZ')}

    def agent(self, request):
        token = 'instance-session'
        if request.path == '/container':
            if request.header('authorization') != 'agent-secret':
                return 401, b'who are you'
            return 200, json.dumps(self.keys()).encode()
        if request.path == '/latest/api/token':
            good = request.method == 'PUT' and \
                request.header('x-aws-ec2-metadata-token-ttl-seconds') == '21600'
            return (200, token.encode()) if good else (400, b'')
        base = '/latest/meta-data/iam/security-credentials/'
        if request.path.startswith(base):
            if request.header('x-aws-ec2-metadata-token') != token:
                return 401, b''
            if request.path == base:
                return 200, b'mail-role\n'
            return 200, json.dumps({'Code': 'Success', 'Type': 'AWS-HMAC', **self.keys()}).encode()
        return 404, b''

    def sts(self, request):
        form = dict(urllib.parse.parse_qsl(request.body.decode()))
        if form.get('Version') != '2011-06-15' or not form.get('RoleArn', '').startswith('arn:aws:'):
            raise Refusal('ValidationError')
        if form['Action'] == 'AssumeRole':
            verify(request, 'sts', self.args.region, self.now())
        elif form['Action'] != 'AssumeRoleWithWebIdentity' or \
                form.get('WebIdentityToken') != 'eyJ.web+/=.identity':
            raise Refusal('InvalidIdentityToken')
        keys = self.keys()
        keys['SessionToken'] = keys.pop('Token')
        inner = ''.join('<%s>%s</%s>' % (k, v, k) for k, v in keys.items())
        return ('<%sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><R><Credentials>%s'
                '</Credentials></R></%sResponse>' % (form['Action'], inner, form['Action'])).encode()

    async def serve_agent(self, reader, writer):
        try:
            while True:
                request = await self.read_request(reader)
                if request.method == 'POST':
                    try:
                        status, body = 200, self.sts(request)
                    except Refusal as r:
                        status, body = 403, ('<ErrorResponse><Error><Type>Sender</Type><Code>%s'
                                             '</Code></Error></ErrorResponse>' % r.name).encode()
                else:
                    status, body = self.agent(request)
                writer.write(self.head(status, 'text/plain', len(body)) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def serve(args):
    fake = Fake(args)
    await asyncio.start_server(fake.serve_agent, '127.0.0.1', args.agent_port)
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(fake.follow_control())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest='command')
    commands.add_parser('init').add_argument('dir')
    p = commands.add_parser('serve')
    p.add_argument('dir')
    p.add_argument('--log', required=True)
    p.add_argument('--control')
    p.add_argument('--lost')
    p.add_argument('--region', default='ap-northeast-1')
    p.add_argument('port', type=int)
    p.add_argument('agent_port', type=int)
    args = parser.parse_args()
    if args.command == 'init':
        init(args.dir)
    else:
        asyncio.run(serve(args))
    sys.exit(0)


if __name__ == '__main__':
    main()
