#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A FAKE SMTP relay for tests: it delivers nothing. What it does to a recipient is told by the
local part, what it does to everyone by a control file, and what it took is written to a log, one
JSON line per message, before the reply to the dot is sent: the ground truth of a test.

    fake_relay.py --log FILE [--control FILE] [--mail FOLDER] [--lost FILE] [--host 127.0.0.1] PORT

Local parts begin with
    hard     550 5.1.1 to RCPT                   soft     451 4.2.0 to RCPT, the first `times` times
    perm554  554 5.7.1 to the dot                busy     451 4.3.0 to the dot, the first `times` times
    full     452 4.2.2 to RCPT, always           drop     closes after the dot, without a reply
    cut      closes at RCPT, the first `times`   slow     replies to the dot after `slow_s`
    shut     421 4.3.2 to RCPT and closes, the first `times`
anything else is taken.

The control file holds `key = value` lines, is looked at every 20 ms and may be missing:
    mode      ok (default), refuse (nobody listens), greet421, stall (reads, says nothing)
    drop      lost (default: what drop* got is thrown away) or kept
    times     2        how often soft, busy, cut and shut act on one recipient
    slow_s    1        wait before the reply to the dot of slow*
    delay_ms  0        the same for everyone
    most      0        421 to more connections than that; 0: no limit

With --mail, or FAKE_RELAY_MAIL in the environment, every message that is taken is also kept in that
folder, as ATTEMPT-RUN-SEND.eml by what its X-Kairan-Id says.

A line of the log: at (seconds), from, to, envid, message_id, subject, kairan_id, and what the latter says
(run, send, attempt; not verified), kept, answered. It is on the disk before the reply. --lost gets a line
(time, data or answer) for each client that went away in the middle of a message.
"""

import argparse
import asyncio
import base64
import json
import os
import signal
import struct
import time

DEFAULTS = {"mode": "ok", "drop": "lost", "times": "2", "slow_s": "1", "delay_ms": "0", "most": "0"}
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


class Relay:
    def __init__(self, args):
        self.args = args
        self.settings = dict(DEFAULTS)
        self.stamp = None
        self.server = None
        self.connections = set()
        self.seen = {}  # address: how often it was put off
        self.log = os.open(args.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def number(self, key):
        return float(self.settings[key])

    def write(self, record):
        line = json.dumps(record, ensure_ascii=True, sort_keys=True) + "\n"
        os.write(self.log, line.encode())
        os.fdatasync(self.log)  # the truth survives whatever is killed next

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
            elif not refuse and self.server is None:
                self.server = await asyncio.get_running_loop().create_server(
                    lambda: Connection(self), self.args.host, self.args.port, reuse_address=True
                )
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
        self.reset()

    def reset(self):
        self.sender = None
        self.envid = ""
        self.recipients = []

    def connection_made(self, transport):
        self.transport = transport
        self.relay.connections.add(self)
        most = self.relay.number("most")
        if self.relay.settings["mode"] == "greet421" or 0 < most < len(self.relay.connections):
            self.reply("421 4.3.2 fake.example is busy")
            self.close()
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

    def work(self):
        """Goes on with what was read, unless a reply is being waited with."""
        while not self.waiting and not self.transport.is_closing():
            if self.relay.settings["mode"] == "stall":
                return
            if not (self.take_message() if self.in_data else self.take_command()):
                return

    def take_command(self):
        end = self.buffer.find(b"\n")
        if end < 0:
            if len(self.buffer) > LINE_MAX:
                self.close()
            return False
        line = bytes(self.buffer[:end]).rstrip(b"\r").decode("utf-8", "replace")
        del self.buffer[: end + 1]
        self.command(line)
        return True

    def command(self, line):
        verb = line[:4].upper()
        if verb == "EHLO":
            for keyword in ("fake.example", "PIPELINING", f"SIZE {MESSAGE_MAX}", "8BITMIME", "DSN"):
                self.reply("250-" + keyword)
            self.reply("250 ENHANCEDSTATUSCODES")
        elif verb == "HELO":
            self.reply("250 fake.example")
        elif verb == "MAIL":
            self.mail(line)
        elif verb == "RCPT":
            self.rcpt(line)
        elif verb == "DATA":
            if not self.recipients:
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

    def mail(self, line):
        if self.sender is not None:
            self.reply("503 5.5.1 nested MAIL")
            return
        self.reset()
        self.sender = line[line.find("<") + 1 : line.find(">")]
        for word in line.split()[1:]:
            if word.upper().startswith("ENVID="):
                self.envid = word[6:]
        self.reply("250 2.1.0 ok")

    def rcpt(self, line):
        address = line[line.find("<") + 1 : line.find(">")]
        if self.sender is None:
            self.reply("503 5.5.1 MAIL first")
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

    def take_message(self):
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
        self.in_data = False
        self.take(text)
        return True

    def take(self, text):
        address = self.recipients[0]
        record = self.describe(text)
        if self.relay.args.mail:
            name = "%s-%s-%s.eml" % (record.get("attempt"), record.get("run"), record.get("send"))
            with open(os.path.join(self.relay.args.mail, name), "wb") as f:
                f.write(text + b"\r\n")
        delay = self.relay.number("delay_ms") / 1000
        self.reset()
        if address.startswith("perm554"):
            self.reply("554 5.7.1 refused by policy")
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
            self.reply("250 2.0.0 taken")

    def answer(self):
        self.waiting = False
        if not self.transport.is_closing():
            self.reply("250 2.0.0 taken")
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
            "from": self.sender,
            "to": self.recipients,
            "envid": self.envid,
            "message_id": fields.get("message-id", ""),
            "subject": fields.get("subject", ""),
            "kairan_id": token,
            "kept": True,
            "answered": True,
        }
        record.update(decode_token(token))
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
    parser.add_argument("port", type=int)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--log", required=True)
    parser.add_argument("--control")
    parser.add_argument("--mail", default=os.environ.get("FAKE_RELAY_MAIL"))
    parser.add_argument("--lost")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
