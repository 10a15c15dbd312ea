#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A FAKE SMTP relay for tests: it delivers nothing. What it does to a recipient is told by the
local part, what it does to everyone by a control file, and what it took is written to a log, one
JSON line per message, before the reply to the dot is sent: the ground truth of a test.

    fake_relay.py --log FILE [--control FILE] [--mail FOLDER] [--lost FILE] [--open FILE]
        [--host 127.0.0.1] [--name NAME] PORT | --unix PATH

Local parts begin with
    hard     550 5.1.1 to RCPT                   soft     451 4.2.0 to RCPT, the first `times` times
    perm554  554 5.7.1 to the dot                busy     451 4.3.0 to the dot, the first `times` times
    full     452 4.2.2 to RCPT, always           drop     closes after the dot, without a reply
    cut      closes at RCPT, the first `times`   slow     replies to the dot after `slow_s`
    shut     421 4.3.2 to RCPT and closes, the first `times`
    sandbox  554 to the dot, as Amazon SES says of a recipient who is not verified
anything else is taken.

The control file holds `key = value` lines, is looked at every 20 ms and may be missing:
    mode      ok (default), refuse (nobody listens), greet421, stall (reads, says nothing)
    drop      lost (default: what drop* got is thrown away) or kept
    times     2        how often soft, busy, cut and shut act on one recipient
    slow_s    1        wait before the reply to the dot of slow*
    delay_ms  0        the same for everyone
    most      0        421 to more connections than that; 0: no limit
    ehlo      PIPELINING,SIZE 10000000,8BITMIME,DSN,ENHANCEDSTATUSCODES   what is offered
    tls       off      or starttls (offered before it), implicit (from the first byte)
    cert      -        file with certificate and key, PEM
    login     -        USER:PASSWORD that AUTH must bring (XOAUTH2: USER:TOKEN); MAIL needs it then
    discard   no       yes: what came in one piece with the final dot is thrown away
    always354 no       yes: 354 to DATA although no recipient was accepted
    id        taken    what follows "250 2.0.0 " in the reply to the dot; %d is counted
    fault     -        PHASE:ACTION+ACTION...: instead of the usual reply, see below
    faults    1000000  how often the fault acts
    for       -        only on commands that hold this text, e.g. @alpha.example with rcpt
    links     0        1: the log has the web addresses in the text of each mail, as "links"

With --mail, or FAKE_RELAY_MAIL in the environment, every message that is taken is also kept in that
folder, as ATTEMPT-RUN-SEND.eml by what its X-Kairan-Id says.

Phases: greet, ehlo, starttls, auth, mail, rcpt, data, body (first bytes of a content), dot.
Actions: raw:TEXT (Python escapes, + as \\x2b), flood:N (N bytes without a line end), lines:N (N
continuation lines), drip:TEXT (a byte every 0.1 s), wait:SECONDS, stall (nothing more), deaf:SECONDS
(reads nothing for so long, then nothing more), close (RST), fin (FIN), go (the usual reply after all). At the dot the message counts as kept or lost by `drop`
unless `go` is among them.

As RFC 6531 asks, an address that is not ASCII is refused (553 5.6.7) unless `ehlo` has SMTPUTF8 and MAIL said so, and
so is a header that is not (554 5.6.9).

Content for nobody (recipients all refused) is logged with an empty list.

A line of the log: at (seconds), tls, auth, chunks, host of --name, from, to, envid, smtputf8, message_id, subject,
kairan_id, and what the latter says (run, send, attempt; not verified), kept, answered. It is on the disk
before the reply. --lost gets a line (time, data or answer) for each client that went away in the middle of a
message. --open gets a line for each connection that is made: how many are open with it.
"""

import argparse
import asyncio
import base64
import email
import json
import os
import re
import signal
import socket
import ssl
import struct
import time

DEFAULTS = {
    "mode": "ok",
    "drop": "lost",
    "times": "2",
    "slow_s": "1",
    "delay_ms": "0",
    "most": "0",
    "ehlo": "PIPELINING,SIZE 10000000,8BITMIME,DSN,ENHANCEDSTATUSCODES",
    "tls": "off",
    "cert": "",
    "login": "",
    "discard": "no",
    "always354": "no",
    "id": "taken",
    "fault": "",
    "faults": "1000000",
    "for": "",
    "links": "0",
}
LINE_MAX = 4096
MESSAGE_MAX = 10_000_000


def decode_token(token):
    """Run, send id and attempt of a token (common/token.h), or nothing."""
    try:
        raw = base64.b32decode(token.upper() + "=" * (-len(token) % 8))
        run, send, attempt = struct.unpack(">IIH", raw[1:11])
    except (ValueError, struct.error):
        return {}
    return {"run": run, "send": send, "attempt": attempt}


def links_in(content):
    """Web addresses in the text parts, decoded."""
    found = []
    for part in email.message_from_bytes(content).walk():
        if part.get_content_maintype() == "text":
            text = part.get_payload(decode=True).decode("utf-8", "replace")
            found += re.findall(r"https?://[^\s\"'<>]+", text)
    return found


class Relay:
    def __init__(self, args):
        self.args = args
        self.settings = dict(DEFAULTS)
        self.stamp = None
        self.server = None
        self.connections = set()
        self.seen = {}  # address: how often it was put off
        self.taken = 0
        self.faults = 0  # how often the present fault has acted
        self.listening = None  # what the server was made with
        self.log = os.open(args.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def number(self, key):
        return float(self.settings[key])

    def write(self, record):
        line = json.dumps(record, ensure_ascii=True, sort_keys=True) + "\n"
        os.write(self.log, line.encode())
        os.fdatasync(self.log)  # the truth survives whatever is killed next

    def note_open(self):
        if self.args.open:
            with open(self.args.open, "a", encoding="ascii") as f:
                print(len(self.connections), file=f)

    def note_lost(self, taken):
        """A client that went away in mid-message, or before it had its answer."""
        if self.args.lost:
            with open(self.args.lost, "a", encoding="utf-8") as f:
                f.write(f"{time.time():.3f} {'answer' if taken else 'data'}\n")

    def put_off(self, address):
        n = self.seen.get(address, 0)
        if n >= self.number("times"):
            return False
        self.seen[address] = n + 1
        return True

    def read_control(self):
        try:
            st = os.stat(self.args.control)
            stamp = (st.st_mtime_ns, st.st_ino, st.st_size)
            if stamp == self.stamp:
                return
            with open(self.args.control, encoding="utf-8") as f:
                lines = [line.split("=", 1) for line in f if "=" in line]
        except FileNotFoundError:
            stamp, lines = None, []
        self.stamp = stamp
        self.settings = dict(DEFAULTS)
        for key, value in lines:
            if key.strip() not in DEFAULTS:
                raise SystemExit(f"unknown setting {key.strip()}")
            self.settings[key.strip()] = value.strip()
        self.faults = 0

    def actions(self, phase):
        """What is to be done instead of the usual reply, or nothing."""
        at, _, actions = self.settings["fault"].partition(":")
        if at != phase or self.faults >= self.number("faults"):
            return []
        self.faults += 1
        return actions.split("+")

    def ssl_context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.settings["cert"])
        return context

    async def listen(self):
        context = self.ssl_context() if self.settings["tls"] == "implicit" else None
        loop = asyncio.get_running_loop()
        if self.args.unix:
            return await loop.create_unix_server(lambda: Connection(self), self.args.unix, ssl=context)
        return await loop.create_server(
            lambda: Connection(self), self.args.host, self.args.port, ssl=context, reuse_address=True
        )

    async def follow_control(self):
        while True:
            if self.args.control:
                self.read_control()
            refuse = self.settings["mode"] == "refuse"
            if refuse and self.server is not None:
                self.server.close()
                self.server = None
                for connection in list(self.connections):
                    connection.transport.abort()
            how = (self.settings["tls"] == "implicit", self.settings["cert"])
            if self.server is not None and how != self.listening:
                self.server.close()
                self.server = None
            if not refuse and self.server is None:
                self.listening = how
                self.server = await self.listen()
            if self.settings["mode"] != "stall":
                for connection in list(self.connections):
                    connection.work()
            await asyncio.sleep(0.02)


class Connection(asyncio.Protocol):
    def __init__(self, relay):
        self.relay = relay
        self.transport = None
        self.buffer = bytearray()
        self.waiting = False  # for the time of a reply
        self.in_data = False
        self.in_chunk = None  # bytes of it still to come
        self.in_auth = None  # what the next line answers
        self.body_begun = False
        self.lmtp = False
        self.upgraded = False
        self.user = ""
        self.reset()

    def reset(self):
        self.chunks = 0
        self.content = b""
        self.sender = None
        self.envid = ""
        self.smtputf8 = False
        self.recipients = []

    def connection_made(self, transport):
        self.transport = transport
        if self.upgraded:
            return  # the same connection, encrypted by now
        self.relay.connections.add(self)
        self.relay.note_open()
        most = self.relay.number("most")
        if self.relay.settings["mode"] == "greet421" or 0 < most < len(self.relay.connections):
            self.reply("421 4.3.2 fake.example is busy")
            self.close()
        elif self.faulted("greet", lambda: self.reply("220 fake.example ESMTP, delivers nothing")):
            pass
        elif self.relay.settings["mode"] != "stall":
            self.reply("220 fake.example ESMTP, delivers nothing")
        else:
            self.transport.abort()

    def connection_lost(self, exc):
        self.relay.connections.discard(self)
        if self.in_data or self.waiting:
            self.relay.note_lost(self.waiting)

    def data_received(self, data):
        self.buffer += data
        self.work()

    def reply(self, text):
        self.transport.write(text.encode() + b"\r\n")

    def close(self):
        self.buffer.clear()
        self.transport.close()

    def encrypted(self):
        return self.transport.get_extra_info("ssl_object") is not None

    def faulted(self, phase, usual=None):
        """True when a fault acts in this phase; nothing more is read until it is through."""
        actions = self.relay.actions(phase)
        if not actions:
            return False
        self.waiting = True
        asyncio.ensure_future(self.act(actions, usual))
        return True

    async def act(self, actions, usual):
        for action in actions:
            name, _, argument = action.partition(":")
            text = argument.encode("latin-1").decode("unicode_escape").encode("latin-1")
            if self.transport.is_closing():
                return
            if name == "raw":
                self.transport.write(text)
            elif name == "flood":
                self.transport.write(b"2" * int(argument))
            elif name == "lines":
                for _ in range(int(argument) // 1000):
                    self.transport.write(b"250-more\r\n" * 1000)
                    await asyncio.sleep(0)
            elif name == "drip":
                for byte in text:
                    self.transport.write(bytes((byte,)))
                    await asyncio.sleep(0.1)
            elif name == "wait":
                await asyncio.sleep(float(argument))
            elif name == "stall":
                return
            elif name == "deaf":
                self.transport.pause_reading()
                await asyncio.sleep(float(argument))
                self.transport.resume_reading()
                return
            elif name == "close":
                # everything written must be on its way before the RST
                await asyncio.sleep(0.02)
                raw = self.transport.get_extra_info("socket")
                if raw is not None and raw.family != socket.AF_UNIX:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.transport.abort()
                return
            elif name == "fin":
                self.close()
                return
            elif name == "go":
                usual()
            else:
                raise SystemExit(f"unknown action {name}")
        self.waiting = False
        self.work()

    def work(self):
        """Goes on with what was read, unless a reply is being waited with."""
        while not self.waiting and not self.transport.is_closing():
            if self.relay.settings["mode"] == "stall":
                return
            if self.in_chunk is not None:
                more = self.take_chunk()
            else:
                more = self.take_message() if self.in_data else self.take_command()
            if not more:
                return

    def take_command(self):
        end = self.buffer.find(b"\n")
        if end < 0:
            if len(self.buffer) > LINE_MAX:
                self.close()
            return False
        line = bytes(self.buffer[:end]).rstrip(b"\r").decode("utf-8", "replace")
        del self.buffer[: end + 1]
        if self.in_auth is not None:
            self.auth_answer(line)
        else:
            self.command(line)
        return True

    def command(self, line):
        verb = line[:4].upper()
        phases = {"EHLO": "ehlo", "LHLO": "ehlo", "MAIL": "mail", "RCPT": "rcpt", "DATA": "data"}
        if verb in phases and self.relay.settings["for"] in line and self.faulted(phases[verb], lambda: self.obey(verb, line)):
            return
        self.obey(verb, line)

    def obey(self, verb, line):
        if verb in ("EHLO", "LHLO"):
            self.lmtp = verb == "LHLO"
            self.hello()
        elif verb == "HELO":
            self.reply("250 fake.example")
        elif verb == "STAR":
            self.starttls()
        elif verb == "AUTH":
            self.auth(line)
        elif verb == "BDAT":
            words = line.split()
            self.in_chunk = int(words[1])
            self.chunks += 1
        elif verb == "MAIL":
            self.mail(line)
        elif verb == "RCPT":
            self.rcpt(line)
        elif verb == "DATA":
            if not self.recipients and self.relay.settings["always354"] != "yes":
                self.reply("554 5.5.1 no valid recipients")
            else:
                self.in_data = True
                self.reply("354 go on")
        elif verb == "RSET":
            self.reset()
            self.reply("250 2.0.0 ok")
        elif verb == "NOOP":
            self.reply("250 2.0.0 ok")
        elif verb == "QUIT":
            self.reply("221 2.0.0 bye")
            self.close()
        else:
            self.reply("500 5.5.2 what?")

    def hello(self):
        keywords = [k for k in self.relay.settings["ehlo"].split(",") if k]
        if self.relay.settings["tls"] == "starttls" and not self.encrypted():
            keywords.append("STARTTLS")
        lines = ["fake.example"] + keywords
        for text in lines[:-1]:
            self.reply("250-" + text)
        self.reply("250 " + lines[-1])

    def starttls(self):
        if self.faulted("starttls"):
            return
        self.waiting = True
        self.upgraded = True
        self.buffer.clear()
        asyncio.ensure_future(self.upgrade())

    async def upgrade(self):
        self.reply("220 2.0.0 go")
        try:
            self.transport = await asyncio.get_running_loop().start_tls(
                self.transport, self, self.relay.ssl_context(), server_side=True
            )
        except (OSError, ssl.SSLError):
            return
        self.waiting = False
        self.work()

    def auth(self, line):
        if self.faulted("auth"):
            return
        words = line.split()
        mechanism = words[1].upper()
        if mechanism == "LOGIN":
            self.in_auth = ["LOGIN"]
            self.reply("334 VXNlcm5hbWU6")
        else:
            self.auth_check(mechanism, base64.b64decode(words[2]).decode())

    def auth_answer(self, line):
        self.in_auth.append(base64.b64decode(line).decode() if line != "*" else "")
        if self.in_auth[0] == "LOGIN" and len(self.in_auth) == 2:
            self.reply("334 UGFzc3dvcmQ6")
            return
        given = ":".join(self.in_auth[1:])
        mechanism, self.in_auth = self.in_auth[0], None
        self.auth_end(given if mechanism == "LOGIN" else "")

    def auth_check(self, mechanism, text):
        if mechanism == "PLAIN":
            self.auth_end(":".join(text.split("\0")[1:]))
            return
        parts = dict(part.split("=", 1) for part in text.split("\1") if part)
        given = parts["user"] + ":" + parts["auth"].partition(" ")[2]
        if given == self.relay.settings["login"]:
            self.auth_end(given)
        else:
            self.in_auth = ["XOAUTH2"]
            self.reply("334 eyJzdGF0dXMiOiI0MDEifQ==")

    def auth_end(self, given):
        if given == self.relay.settings["login"]:
            self.user = given.partition(":")[0]
            self.reply("235 2.7.0 welcome")
        else:
            self.reply("535 5.7.8 Authentication Credentials Invalid")

    def mail(self, line):
        if self.relay.settings["login"] and not self.user:
            self.reply("530 5.7.0 Authentication required")
            return
        if self.sender is not None:
            self.reply("503 5.5.1 nested MAIL")
            return
        self.reset()
        self.sender = line[line.find("<") + 1 : line.find(">")]
        for word in line.split()[1:]:
            if word.upper().startswith("ENVID="):
                self.envid = word[6:]
            if word.upper() == "SMTPUTF8":
                self.smtputf8 = True
        if self.smtputf8 and "SMTPUTF8" not in self.relay.settings["ehlo"].split(","):
            self.reset()
            self.reply("555 5.5.4 SMTPUTF8 is not offered")
            return
        self.reply("250 2.1.0 ok")

    def rcpt(self, line):
        address = line[line.find("<") + 1 : line.find(">")]
        if self.sender is None:
            self.reply("503 5.5.1 MAIL first")
        elif not address.isascii() and not self.smtputf8:
            self.reply("553 5.6.7 non-ASCII address without SMTPUTF8")
        elif address.startswith("hard"):
            self.reply(f"550 5.1.1 <{address}>: no such user")
        elif address.startswith("full"):
            self.reply(f"452 4.2.2 <{address}>: mailbox full")
        elif address.startswith("soft") and self.relay.put_off(address):
            self.reply(f"451 4.2.0 <{address}>: try again")
        elif address.startswith("cut") and self.relay.put_off(address):
            self.transport.abort()
        elif address.startswith("shut") and self.relay.put_off(address):
            self.reply("421 4.3.2 going down")
            self.close()
        else:
            self.recipients.append(address)
            self.reply("250 2.1.5 ok")

    def take_chunk(self):
        if len(self.buffer) < self.in_chunk:
            return False
        text = bytes(self.buffer[: self.in_chunk])
        del self.buffer[: self.in_chunk]
        self.in_chunk = None
        self.take(text.removesuffix(b"\r\n"))
        return True

    def take_message(self):
        if not self.body_begun and self.buffer and self.recipients:
            self.body_begun = True
            if self.faulted("body"):
                return False
        if self.buffer.startswith(b".\r\n"):
            end, size = 0, 3
        else:
            end, size = self.buffer.find(b"\r\n.\r\n"), 5
        if end < 0:
            if len(self.buffer) > MESSAGE_MAX:
                self.close()
            return False
        text = bytes(self.buffer[:end])
        del self.buffer[: end + size]
        if self.relay.settings["discard"] == "yes":
            self.buffer.clear()
        self.in_data = self.body_begun = False
        self.take(text)
        return True

    def take(self, text):
        if not self.recipients:
            if text:
                self.relay.write(self.describe(text))
            self.reset()
            self.reply("554 5.5.1 no valid recipients")
            return
        if not self.smtputf8 and not text.split(b"\r\n\r\n", 1)[0].isascii():
            self.reset()
            self.reply("554 5.6.9 header in UTF-8 without SMTPUTF8")
            return
        address = self.recipients[0]
        record = self.describe(text)
        if self.relay.args.mail:
            name = "%s-%s-%s.eml" % (record.get("attempt"), record.get("run"), record.get("send"))
            with open(os.path.join(self.relay.args.mail, name), "wb") as f:
                f.write(text + b"\r\n")
        delay = self.relay.number("delay_ms") / 1000
        self.reset()
        if self.fault_at_dot(record):
            return
        if address.startswith("perm554"):
            self.reply("554 5.7.1 refused by policy")
            return
        if address.startswith("sandbox"):
            self.reply("554 Message rejected: Email address is not verified. The following identities failed "
                       "the check in region EU-WEST-1: " + address)
            return
        if address.startswith("busy") and self.relay.put_off(address):
            self.reply("451 4.3.0 try again")
            return
        if address.startswith("drop"):
            record["kept"] = self.relay.settings["drop"] == "kept"
            record["answered"] = False
            self.relay.write(record)
            self.transport.abort()
            return
        if address.startswith("slow"):
            delay = self.relay.number("slow_s")
        self.relay.write(record)
        if delay > 0:
            self.waiting = True
            asyncio.get_running_loop().call_later(delay, self.answer)
        else:
            self.reply(self.thanks())

    def fault_at_dot(self, record):
        """Like faulted(), and tells the log what became of the message."""
        goes = self.relay.settings["fault"].split("+")[-1] == "go"
        if not self.faulted("dot", lambda: self.reply(self.thanks())):
            return False
        record["kept"] = goes or self.relay.settings["drop"] == "kept"
        record["answered"] = goes
        self.relay.write(record)
        return True

    def thanks(self):
        self.relay.taken += 1
        return "250 2.0.0 " + self.relay.settings["id"].replace("%d", str(self.relay.taken))

    def answer(self):
        self.waiting = False
        if not self.transport.is_closing():
            self.reply(self.thanks())
            self.work()

    def describe(self, text):
        header = text.split(b"\r\n\r\n", 1)[0].replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")
        fields = {}
        for line in header.decode("utf-8", "replace").split("\r\n"):
            name, _, value = line.partition(":")
            fields.setdefault(name.lower(), value.strip())
        token = fields.get("x-kairan-id", "")
        record = {
            "at": time.time(),
            "tls": self.encrypted(),
            "auth": self.user,
            "chunks": self.chunks,
            "relay": self.relay.args.name,
            "client": (self.transport.get_extra_info("peername") or [""])[0],
            "headers": {k: v for k, v in fields.items() if k.startswith("x-ses-")},
            "from": self.sender,
            "to": self.recipients,
            "envid": self.envid,
            "smtputf8": self.smtputf8,
            "message_id": fields.get("message-id", ""),
            "subject": fields.get("subject", ""),
            "kairan_id": token,
            "kept": True,
            "answered": True,
        }
        record.update(decode_token(token))
        if self.relay.number("links"):
            record["links"] = links_in(text)
        return record


async def serve(args):
    relay = Relay(args)
    follow = asyncio.ensure_future(relay.follow_control())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, follow.cancel)
    try:
        await follow
    except asyncio.CancelledError:
        pass


def main():
    parser = argparse.ArgumentParser(description="FAKE relay for tests; delivers nothing")
    parser.add_argument("port", type=int, nargs="?", default=0)
    parser.add_argument("--unix", help="listen on this socket instead")
    parser.add_argument("--name", default="fake", help="told in the log")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--log", required=True)
    parser.add_argument("--control")
    parser.add_argument("--mail", default=os.environ.get("FAKE_RELAY_MAIL"))
    parser.add_argument("--lost")
    parser.add_argument("--open")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
