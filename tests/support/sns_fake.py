#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A fake of Amazon SNS, for tests and the demo: documents of the right form, signed by a
certificate of its own authority. Nothing here talks to Amazon.

  sns_fake.py init DIR                 makes DIR/ca.pem, DIR/key.pem and
                                       DIR/certs/SimpleNotificationService-HEX.pem
  sns_fake.py send DIR URL [options]   reads JSON lines, posts each, prints one JSON line each
  sns_fake.py sign DIR [options]       the same, but prints the documents, one a line
  sns_fake.py token KEYFILE RUN SEND ATTEMPT [b|u|m]
                                       a signed token of Kairan, as common/token.h describes
  sns_fake.py tokens KEYFILE RUN COUNT  prints the tokens of rows 1 to COUNT: purpose, row, token
  sns_fake.py many DIR KEYFILE RUN COUNT [options]
                                       prints COUNT signed deliveries, one for each send row

Options: --topic ARN, --version 1|2 (default 2), --region NAME.

A line says what to send; all but kind is optional:
  {"kind": "bounce"|"complaint"|"delivery"|"open"|"click"|"send"|"reject"|"delay",
   "address": "a@example.com", "token": "…", "dialect": "event"|"notification",
   "bounce_type": "Permanent", "bounce_subtype": "NoEmail", "status": "5.1.1",
   "ses_id": "…", "feedback_id": "…", "timestamp": "…", "message_id": "…", "version": 1,
   "type": "SubscriptionConfirmation"|"UnsubscribeConfirmation",
   "message": "text instead of an event",
   "forge": "signature"|"unsigned"|"topic"|"url"|"header"|"body"}
Signing uses the Python module cryptography when it is there, else the openssl command.
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.parse
import uuid

REGION = 'eu-west-1'
TOPIC = 'arn:aws:sns:%s:123456789012:kairan-test'
SIGNED = {
    'Notification': ('Message', 'MessageId', 'Subject', 'Timestamp', 'TopicArn', 'Type'),
    'SubscriptionConfirmation': ('Message', 'MessageId', 'SubscribeURL', 'Timestamp', 'Token',
                                 'TopicArn', 'Type'),
}
SIGNED['UnsubscribeConfirmation'] = SIGNED['SubscriptionConfirmation']


def run(*command, data=None):
    return subprocess.run(command, input=data, check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE).stdout


def init(folder):
    """An authority, and a certificate with the subject that SNS has."""
    certs = os.path.join(folder, 'certs')
    os.makedirs(certs, exist_ok=True)
    key, ca_key = os.path.join(folder, 'key.pem'), os.path.join(folder, 'ca.key')
    ca, request = os.path.join(folder, 'ca.pem'), os.path.join(folder, 'request.pem')
    run('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', ca_key, '-out', ca,
        '-days', '2', '-subj', '/CN=Fake authority of the tests')
    run('openssl', 'req', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', request,
        '-subj', '/CN=sns.amazonaws.com')
    with tempfile.NamedTemporaryFile('w', suffix='.cnf') as extensions:
        extensions.write('subjectAltName=DNS:sns.amazonaws.com\nbasicConstraints=CA:FALSE\n')
        extensions.flush()
        run('openssl', 'x509', '-req', '-in', request, '-CA', ca, '-CAkey', ca_key,
            '-set_serial', '7', '-days', '2', '-extfile', extensions.name,
            '-out', os.path.join(folder, 'leaf.pem'))
    with open(os.path.join(folder, 'leaf.pem'), 'rb') as f:
        pem = f.read()
    name = 'SimpleNotificationService-%s.pem' % hashlib.md5(pem).hexdigest()
    with open(os.path.join(certs, name), 'wb') as f:
        f.write(pem)
    os.chmod(certs, 0o755)


class Signer:
    def __init__(self, folder, options):
        self.region = options.get('region', REGION)
        self.topic = options.get('topic', TOPIC % self.region)
        self.version = int(options.get('version', 2))
        self.key_path = os.path.join(folder, 'key.pem')
        self.cert = sorted(os.listdir(os.path.join(folder, 'certs')))[0]
        try:
            from cryptography.hazmat.primitives.serialization import load_pem_private_key
            with open(self.key_path, 'rb') as f:
                self.key = load_pem_private_key(f.read(), None)
        except ImportError:
            self.key = None

    def sign(self, data, version):
        if self.key is None:
            return run('openssl', 'dgst', '-sha1' if version == 1 else '-sha256', '-sign',
                       self.key_path, data=data)
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding
        return self.key.sign(data, padding.PKCS1v15(),
                             hashes.SHA1() if version == 1 else hashes.SHA256())

    def document(self, order):
        kind, forge = order.get('type', 'Notification'), order.get('forge', '')
        version = order.get('version', self.version)
        message = order['message'] if 'message' in order else json.dumps(event(order))
        topic = order.get('topic', self.topic)
        if forge == 'topic':
            topic = topic.replace('123456789012', '210987654321')
        document = {
            'Type': kind,
            'MessageId': order.get('message_id', str(uuid.uuid4())),
            'TopicArn': topic,
            'Message': message,
            'Timestamp': order.get('timestamp', now()),
            'SignatureVersion': str(version),
            'SigningCertURL': 'https://sns.%s.amazonaws.com/%s' % (self.region, self.cert),
        }
        if kind == 'Notification':
            if order.get('dialect', 'event') == 'event':
                document['Subject'] = 'Amazon SES Email Event Notification'
            document['UnsubscribeURL'] = ('https://sns.%s.amazonaws.com/?Action=Unsubscribe'
                                          '&SubscriptionArn=%s:fake' % (self.region, topic))
        else:
            document['Token'] = uuid.uuid4().hex * 4
            document['SubscribeURL'] = (
                'https://sns.%s.amazonaws.com/?Action=ConfirmSubscription&TopicArn=%s&Token=%s'
                % (self.region, topic, document['Token']))
        text = ''.join('%s\n%s\n' % (k, document[k]) for k in SIGNED[kind] if k in document)
        document['Signature'] = base64.b64encode(self.sign(text.encode(), version)).decode()
        if forge == 'signature':
            document['Message'] = message.replace('example', 'exemple', 1) + ' '
        elif forge == 'unsigned':
            del document['Signature']
        elif forge == 'url':
            document['SigningCertURL'] = 'https://sns.%s.amazonaws.com.evil.example/%s' % (
                self.region, self.cert)
        return document


def now(offset=0):
    at = time.time() + offset
    return time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at)) + '.%03dZ' % (at % 1 * 1000)


def mail(order):
    """The part that all events share."""
    address, token = order.get('address', 'user@example.com'), order.get('token')
    headers = [{'name': 'From', 'value': 'News <news@example.org>'},
               {'name': 'To', 'value': address}, {'name': 'Subject', 'value': 'News'}]
    if token:
        headers.insert(0, {'name': 'X-Kairan-Id', 'value': token})
    m = {
        'timestamp': now(-60),
        'messageId': order.get('ses_id', '0102%012x-%s-000000' % (
            int(time.time() * 1000), uuid.uuid4())),
        'source': 'b+%s@bounces.example.org' % (token or 'none'),
        'sourceArn': 'arn:aws:ses:eu-west-1:123456789012:identity/example.org',
        'sendingAccountId': '123456789012',
        'destination': [address],
        'headersTruncated': False,
        'headers': headers,
        'commonHeaders': {'from': ['News <news@example.org>'], 'to': [address],
                          'subject': 'News'},
    }
    if order.get('dialect', 'event') == 'event':
        m['tags'] = {'ses:configuration-set': ['marketing'], 'ses:from-domain': ['example.org']}
        if token:
            m['tags']['kairan'] = [token]
    else:
        m['sourceIp'] = '192.0.2.1'
        m['callerIdentity'] = 'kairan'
    return m


def event(order):
    address, at = order.get('address', 'user@example.com'), order.get('timestamp', now())
    feedback = order.get('feedback_id', '0102%s-000000' % uuid.uuid4())
    parts = {
        'bounce': ('Bounce', 'bounce', {
            'bounceType': order.get('bounce_type', 'Permanent'),
            'bounceSubType': order.get('bounce_subtype', 'General'),
            'bouncedRecipients': [{
                'emailAddress': address, 'action': 'failed',
                'status': order.get('status', '5.1.1'),
                'diagnosticCode': order.get('diagnostic',
                                            'smtp; 550 5.1.1 <%s>: user unknown' % address)}],
            'timestamp': at, 'feedbackId': feedback, 'remoteMtaIp': '198.51.100.7',
            'reportingMTA': 'dsn; a7-11.smtp-out.eu-west-1.amazonses.com'}),
        'complaint': ('Complaint', 'complaint', {
            'complainedRecipients': [{'emailAddress': address}], 'timestamp': at,
            'feedbackId': feedback, 'complaintSubType': None,
            'complaintFeedbackType': 'abuse', 'userAgent': 'Fake/1.0'}),
        'delivery': ('Delivery', 'delivery', {
            'timestamp': at, 'processingTimeMillis': 512, 'recipients': [address],
            'smtpResponse': '250 2.0.0 OK 1234', 'remoteMtaIp': '198.51.100.7',
            'reportingMTA': 'a7-11.smtp-out.eu-west-1.amazonses.com'}),
        'open': ('Open', 'open', {'ipAddress': '203.0.113.5', 'timestamp': at,
                                  'userAgent': 'Fake/1.0'}),
        'click': ('Click', 'click', {'ipAddress': '203.0.113.5', 'timestamp': at,
                                     'userAgent': 'Fake/1.0', 'link': 'https://example.org/'}),
        'send': ('Send', 'send', {}),
        'reject': ('Reject', 'reject', {'reason': 'Bad content'}),
        'delay': ('DeliveryDelay', 'deliveryDelay', {
            'timestamp': at, 'delayType': 'MailboxFull', 'expirationTime': now(3600),
            'delayedRecipients': [{'emailAddress': address, 'status': '4.2.2',
                                   'diagnosticCode': 'smtp; 452 4.2.2 full'}]}),
    }
    name, key, body = parts[order['kind']]
    dialect = order.get('dialect', 'event')
    return {'eventType' if dialect == 'event' else 'notificationType': name,
            'mail': mail(order), key: body}


def token(key_file, row, send, attempt, purpose='b'):
    with open(key_file, encoding='ascii') as f:
        lines = [x.split() for x in f if x.strip() and not x.startswith('#')]
    payload = (bytes([int(lines[0][0])]) + int(row).to_bytes(4, 'big') +
               int(send).to_bytes(4, 'big') + int(attempt).to_bytes(2, 'big'))
    mac = hmac.new(bytes.fromhex(lines[0][1]), purpose.encode() + payload, 'sha256').digest()[:10]
    return base64.b32encode(payload + mac).decode().lower().rstrip('=')


def post(url, document, header):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=15)
    try:
        connection.request('POST', parts.path, json.dumps(document).encode(), {
            'Content-Type': 'text/plain; charset=UTF-8',
            'User-Agent': 'Amazon Simple Notification Service Agent',
            'x-amz-sns-message-type': header,
            'x-amz-sns-message-id': document['MessageId'],
            'x-amz-sns-topic-arn': document['TopicArn']})
        return connection.getresponse().status
    finally:
        connection.close()


def orders():
    for line in sys.stdin:
        if line.strip():
            yield json.loads(line)


def send_all(signer, url):
    for order in orders():
        document = signer.document(order)
        header = document['Type']
        if order.get('forge') == 'header':
            header = 'UnsubscribeConfirmation'
        try:
            status = post(url, document, header)
        except OSError as error:
            print(json.dumps({'status': 0, 'error': str(error)}), flush=True)
            continue
        print(json.dumps({'status': status, 'message_id': document['MessageId']}), flush=True)


def options_of(arguments):
    rest, options, i = [], {}, 0
    while i < len(arguments):
        if arguments[i].startswith('--') and i + 1 < len(arguments):
            options[arguments[i][2:]] = arguments[i + 1]
            i += 1
        else:
            rest.append(arguments[i])
        i += 1
    return rest, options


def main():
    words, options = options_of(sys.argv[1:])
    if len(words) == 2 and words[0] == 'init':
        init(words[1])
    elif len(words) == 3 and words[0] == 'send':
        send_all(Signer(words[1], options), words[2])
    elif len(words) == 2 and words[0] == 'sign':
        signer = Signer(words[1], options)
        for order in orders():
            print(json.dumps(signer.document(order)))
    elif len(words) in (5, 6) and words[0] == 'token':
        print(token(*words[1:]))
    elif len(words) == 4 and words[0] == 'tokens':
        for purpose in 'bum':
            for i in range(1, int(words[3]) + 1):
                print(purpose, i, token(words[1], words[2], i, 1 if purpose == 'b' else 0, purpose))
    elif len(words) == 5 and words[0] == 'many':
        signer = Signer(words[1], options)
        for i in range(1, int(words[4]) + 1):
            print(json.dumps(signer.document({
                'kind': 'delivery', 'address': 'user%d@example.com' % i,
                'token': token(words[2], words[3], i, 1)})))
    else:
        sys.exit(__doc__)


if __name__ == '__main__':
    main()
