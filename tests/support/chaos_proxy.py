#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A proxy for tests that does to connections what networks do. It knows no protocol: PostgreSQL,
Redis, SMTP and HTTP go through it alike, over TCP or Unix sockets.

    chaos_proxy.py --listen PLACE --to PLACE --control FIFO --log FILE [--seed N]

PLACE is a port of 127.0.0.1 or the path of a Unix socket. Commands come as lines through the FIFO;
each is answered by a line `done COMMAND` in the log. "up" is towards the server.

    pass                     everything is normal again, for connections of now and later
    cut [client|server]      ends all connections at once (TCP: RST), or only one side of them:
                             the other side is left open and hears nothing any more
    fin up|down              half-closes: the end of the stream, politely, in one direction
    hold up|down|both        passes nothing on, reads nothing (so windows fill), closes nothing
    refuse | accept          nobody listens | listens again
    split N                  passes N bytes at a time, each in a packet of its own
    delay MS                 waits so long before each piece
    limit up|down N ACTION   ACTION after so many more bytes of a connection in that direction
    see up|down N ACTION T   ACTION right after T, escapes as in Python, passed for the N-th time
    instead T                answers T and closes, whatever is asked; the server is not involved
    storm MS                 a cut, an end or a hold of a random connection every MS, by the seed

ACTION: cut, cut-client, cut-server, hold, fin. One `see` and one `limit` at a time; each acts once.
The log also gets `connection N`, `seen`, `limit` and `storm ACTION`.
"""

import argparse
import asyncio
import os
import random
import signal
import socket
import struct

PIECE = 65536
ACTIONS = ("cut", "cut-client", "cut-server", "hold", "fin")


def is_port(place):
    return place.isdigit()


def unescape(text):
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1")


class Trigger:
    """Acts once, when enough bytes or a text have gone by in one direction."""

    def __init__(self, direction, count, action, text=b""):
        if direction not in ("up", "down") or action not in ACTIONS:
            raise SystemExit(f"what is {direction} {action}?")
        self.direction, self.count, self.action, self.text = direction, int(count), action, text


class Connection:
    def __init__(self, proxy, client):
        self.proxy = proxy
        self.ends = {"client": client, "server": None}
        self.held = set()
        self.passed = {"up": 0, "down": 0}
        self.tail = {"up": b"", "down": b""}
        self.tasks = []
        self.limit_from = {"up": 0, "down": 0}

    async def run(self):
        loop = asyncio.get_running_loop()
        to = self.proxy.args.to
        server = socket.socket(socket.AF_INET if is_port(to) else socket.AF_UNIX)
        server.setblocking(False)
        self.ends["server"] = server
        try:
            await loop.sock_connect(server, ("127.0.0.1", int(to)) if is_port(to) else to)
        except OSError:
            self.cut()
            return
        for end in self.ends.values():
            if end.family == socket.AF_INET:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tasks = [asyncio.create_task(self.pump("up")), asyncio.create_task(self.pump("down"))]

    async def pump(self, direction):
        source, sink = ("client", "server") if direction == "up" else ("server", "client")
        loop = asyncio.get_running_loop()
        try:
            while True:
                while direction in self.held | self.proxy.held:
                    await asyncio.sleep(0.01)
                data = await loop.sock_recv(self.ends[source], PIECE)
                if not data:
                    break
                while direction in self.held | self.proxy.held:
                    await asyncio.sleep(0.01)
                await self.send(direction, self.ends[sink], data)
            self.ends[sink].shutdown(socket.SHUT_WR)
            if direction == "down":
                self.cut()
        except (OSError, ValueError):
            self.cut()

    async def send(self, direction, sink, data):
        loop = asyncio.get_running_loop()
        size = self.proxy.split or len(data)
        while data:
            piece, rest = data[:size], data[size:]
            trigger, at = self.proxy.trigger_in(self, direction, piece)
            if trigger is not None:
                piece, rest = piece[:at], piece[at:] + rest
            if self.proxy.delay:
                await asyncio.sleep(self.proxy.delay)
            await loop.sock_sendall(sink, piece)
            self.passed[direction] += len(piece)
            if trigger is not None:
                await asyncio.sleep(0.005)  # let it arrive
                self.act(trigger.action)
            data = rest
            if self.proxy.split:
                await asyncio.sleep(0)

    def act(self, action):
        if action == "hold":
            self.held = {"up", "down"}
        elif action == "fin":
            self.fin("up")
            self.fin("down")
        else:
            self.cut(action.partition("-")[2])

    def fin(self, direction):
        end = self.ends["server" if direction == "up" else "client"]
        try:
            end.shutdown(socket.SHUT_WR)
        except (OSError, AttributeError):
            pass

    def cut(self, side=""):
        here = asyncio.current_task()
        for task in self.tasks:
            if task is not here:
                task.cancel()
        for name, end in self.ends.items():
            if end is None or side not in ("", name):
                continue
            try:
                if end.family == socket.AF_INET:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.close()
            except OSError:
                pass
        self.proxy.connections.discard(self)
        if side:
            self.proxy.orphans.append(self)  # keeps the other end open


class Proxy:
    def __init__(self, args):
        self.args = args
        self.random = random.Random(args.seed)
        self.connections, self.orphans = set(), []
        self.count = 0
        self.listener = None
        self.accepting = None
        self.storming = None
        self.normal()

    def normal(self):
        self.held, self.split, self.delay, self.instead = set(), 0, 0.0, None
        self.see, self.limit = None, None
        if self.storming is not None:
            self.storming.cancel()
            self.storming = None
        for connection in self.connections:
            connection.held = set()
        for orphan in self.orphans:
            for end in orphan.ends.values():
                if end is not None:
                    end.close()
        self.orphans = []

    def say(self, text):
        with open(self.args.log, "a", encoding="utf-8") as f:
            f.write(text + "\n")

    def trigger_in(self, connection, direction, piece):
        """The trigger that acts inside this piece and behind which byte, or (None, 0)."""
        limit, see = self.limit, self.see
        if limit is not None and limit.direction == direction:
            gone = connection.passed[direction] - connection.limit_from[direction]
            if gone + len(piece) >= limit.count:
                self.limit = None
                self.say("limit")
                return limit, limit.count - gone
        if see is not None and see.direction == direction:
            before = connection.tail[direction]
            window = before + piece
            at = window.find(see.text)
            connection.tail[direction] = window[-(len(see.text) - 1) :] if len(see.text) > 1 else b""
            if at >= 0:
                see.count -= 1
                if see.count == 0:
                    self.see = None
                    self.say("seen")
                    return see, max(at + len(see.text) - len(before), 0)
        return None, 0

    def listen(self):
        place = self.args.listen
        self.listener = socket.socket(socket.AF_INET if is_port(place) else socket.AF_UNIX)
        if is_port(place):
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(("127.0.0.1", int(place)))
        else:
            if os.path.exists(place):
                os.unlink(place)
            self.listener.bind(place)
        self.listener.listen(128)
        self.listener.setblocking(False)
        self.accepting = asyncio.create_task(self.accept())

    def refuse(self):
        if self.listener is not None:
            self.accepting.cancel()
            self.listener.close()
            self.listener = None

    async def accept(self):
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(self.listener)
            client.setblocking(False)
            self.count += 1
            self.say(f"connection {self.count}")
            connection = Connection(self, client)
            self.connections.add(connection)
            if self.instead is not None:
                asyncio.create_task(self.answer_instead(connection))
            else:
                asyncio.create_task(connection.run())

    async def answer_instead(self, connection):
        loop = asyncio.get_running_loop()
        client = connection.ends["client"]
        try:
            await loop.sock_recv(client, PIECE)
            await loop.sock_sendall(client, self.instead)
            await asyncio.sleep(0.05)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        connection.cut()

    async def storm(self, seconds):
        while True:
            await asyncio.sleep(seconds * self.random.uniform(0.5, 1.5))
            if self.connections:
                action = self.random.choice(("cut", "cut", "cut-client", "fin", "hold"))
                list(self.connections)[self.random.randrange(len(self.connections))].act(action)
                self.say(f"storm {action}")

    def obey(self, line):
        verb, *words = line.split(" ")
        if verb == "pass":
            self.normal()
        elif verb == "cut":
            for connection in list(self.connections):
                connection.cut(words[0] if words else "")
        elif verb == "fin":
            for connection in list(self.connections):
                connection.fin(words[0])
        elif verb == "hold":
            self.held = {"up", "down"} if words[0] == "both" else {words[0]}
        elif verb == "refuse":
            self.refuse()
        elif verb == "accept":
            if self.listener is None:
                self.listen()
        elif verb == "split":
            self.split = int(words[0])
        elif verb == "delay":
            self.delay = float(words[0]) / 1000
        elif verb == "limit":
            self.limit = Trigger(*words)
            for connection in self.connections:
                connection.limit_from = dict(connection.passed)
        elif verb == "see":
            self.see = Trigger(words[0], words[1], words[2], unescape(" ".join(words[3:])))
        elif verb == "instead":
            self.instead = unescape(" ".join(words))
        elif verb == "storm":
            self.storming = asyncio.create_task(self.storm(float(words[0]) / 1000))
        else:
            raise SystemExit(f"unknown command {line}")
        self.say(f"done {line}")

    async def serve(self):
        loop = asyncio.get_running_loop()
        end = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end.set)
        # read and write, so that a writer that goes away is not the end
        fifo = os.open(self.args.control, os.O_RDWR | os.O_NONBLOCK)
        rest = bytearray()

        def on_command():
            rest.extend(os.read(fifo, PIECE))
            while b"\n" in rest:
                line, _, after = bytes(rest).partition(b"\n")
                rest[:] = after
                self.obey(line.decode("latin-1"))

        loop.add_reader(fifo, on_command)
        self.listen()
        self.say("ready")
        await end.wait()


def main():
    parser = argparse.ArgumentParser(description="a proxy that does what networks do")
    parser.add_argument("--listen", required=True)
    parser.add_argument("--to", required=True)
    parser.add_argument("--control", required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--seed", type=int, default=1)
    asyncio.run(Proxy(parser.parse_args()).serve())


if __name__ == "__main__":
    main()
