# SPDX-License-Identifier: Apache-2.0
"""Mails bent without a change of meaning: other encodings, line ends, folds, wrappings.

BENDS is a list of (name, function). A function takes the bytes of a mail (LF line ends) and gives
the bent bytes, or None where the bend does not apply. Pure; a mail is read as a tree of Parts by
the boundaries it declares, so mails that are broken are left to the bends that need no tree.
"""
import base64
import html
import quopri
import re

CHARSETS = {"iso-2022-jp": "iso2022_jp", "shift_jis": "cp932", "euc-jp": "euc_jp"}


class Part:
    """One entity: fields as [name, value] (value with its folds), then a body or children."""

    def __init__(self, raw):
        self.fields, self.children, self.body, self.preamble = [], [], b"", b""
        head, gap, rest = raw.partition(b"\n\n")
        if raw.startswith(b"\n"):
            head, gap, rest = b"", b"\n", raw[1:]
        for line in head.split(b"\n") if head else []:
            if line[:1] in (b" ", b"\t") and self.fields:
                self.fields[-1][1] += b"\n" + line
            elif b":" in line:
                self.fields.append(line.split(b":", 1))
            else:
                raise ValueError("a header line without colon")
        self.has_gap = bool(gap)
        kind = self.type()
        boundary = self.parameter("boundary")
        if kind.startswith("multipart/") and boundary:
            self.split(rest, boundary)
        else:
            self.body = rest

    def split(self, rest, boundary):
        mark = b"--" + boundary.encode("latin-1")
        pieces = re.split(rb"(?:^|\n)" + re.escape(mark) + rb"(--)?[ \t]*(?:\n|$)", rest)
        # text, None, text, None, text, "--", epilogue
        if len(pieces) < 3:
            raise ValueError("the boundary does not occur")
        self.preamble = pieces[0]
        texts, ends = pieces[2::2], pieces[1::2]
        for text, end in zip(texts, ends):
            if end is not None:
                break
            self.children.append(Part(text))
        if not self.children:
            raise ValueError("no parts")

    def get(self, name):
        for field, value in self.fields:
            if field.strip().lower() == name.lower().encode():
                return value
        return b""

    def set(self, name, value):
        for field in self.fields:
            if field[0].strip().lower() == name.lower().encode():
                field[1] = b" " + value
                return
        self.fields.append([name.encode(), b" " + value])

    def drop(self, name):
        count = len(self.fields)
        self.fields = [f for f in self.fields if f[0].strip().lower() != name.lower().encode()]
        return len(self.fields) != count

    def type(self):
        value = self.get("Content-Type").decode("latin-1")
        return value.split(";")[0].strip().lower() or "text/plain"

    def parameter(self, name):
        value = self.get("Content-Type").decode("latin-1").replace("\n", " ")
        found = re.search(r";\s*" + name + r'\s*=\s*(?:"([^"]*)"|([^\s;]+))', value, re.I)
        return (found.group(1) or found.group(2) or "") if found else ""

    def encoding(self):
        return self.get("Content-Transfer-Encoding").decode("latin-1").strip().lower()

    def bytes(self):
        head = b"".join(name + b":" + value + b"\n" for name, value in self.fields)
        return head + (b"\n" if self.has_gap else b"") + self.content()

    def content(self):
        if not self.children:
            return self.body
        mark = b"--" + self.parameter("boundary").encode("latin-1")
        out = self.preamble
        for child in self.children:
            out += (b"\n" if out and not out.endswith(b"\n") else b"") + mark + b"\n"
            out += child.bytes()
        return out + (b"" if out.endswith(b"\n") else b"\n") + mark + b"--\n"

    def leaves(self):
        if not self.children:
            return [self]
        return [leaf for child in self.children for leaf in child.leaves()]

    def decoded(self):
        if self.encoding() == "base64":
            return base64.b64decode(self.body)
        if self.encoding() == "quoted-printable":
            return quopri.decodestring(self.body)
        return self.body

    def encode(self, data, encoding):
        if encoding == "base64":
            self.body = base64.encodebytes(data)
        elif encoding == "quoted-printable":
            self.body = quopri.encodestring(data)
        else:
            self.body = data
        self.set("Content-Transfer-Encoding", encoding.encode())

    def text(self):
        """Decoded characters, or None when they are not what the header says."""
        charset = self.parameter("charset").lower() or "us-ascii"
        try:
            return self.decoded().decode(CHARSETS.get(charset, charset))
        except (UnicodeDecodeError, LookupError, ValueError):
            return None

    def set_text(self, text, subtype="plain", charset="utf-8"):
        data = text.encode(CHARSETS.get(charset, charset))
        self.set("Content-Type", f"text/{subtype}; charset={charset}".encode())
        self.encode(data, "8bit" if any(b > 127 for b in data) else "7bit")


def read(raw):
    """The tree, or None for what is no mail with a header or is broken."""
    try:
        part = Part(raw)
    except ValueError:
        return None
    return part if part.fields and part.get("From") + part.get("Subject") else None


def is_prose(part):
    return part.type() in ("text/plain", "text/html")


def each_leaf(raw, wanted, change):
    mail = read(raw)
    done = False
    try:
        for leaf in mail.leaves() if mail else []:
            if wanted(leaf):
                done = change(leaf) is not False or done
    except ValueError:  # broken base64
        return None
    return mail.bytes() if done else None


def to_encoding(encoding, wanted=is_prose):
    def change(leaf):
        if leaf.encoding() == encoding or not leaf.body.strip():
            return False
        return leaf.encode(leaf.decoded(), encoding)
    return lambda raw: each_leaf(raw, wanted, change)


def to_charset(charset):
    def change(leaf):
        text = leaf.text()
        if text is None or leaf.parameter("charset").lower() == charset:
            return False
        try:
            data = text.encode(CHARSETS.get(charset, charset))
        except UnicodeEncodeError:
            return False
        subtype = leaf.type().encode()
        leaf.set("Content-Type", subtype + b"; charset=\"" + charset.encode() + b'"')
        return leaf.encode(data, "base64")
    return lambda raw: each_leaf(raw, is_prose, change)


def refold(raw):
    mail = read(raw)
    if not mail:
        return None
    for field in mail.fields:
        value = re.sub(rb"\n[ \t]+", b" ", field[1]).strip()
        words, out, width = value.split(b" "), b"", 0
        for word in words:
            if width > 0 and width + len(word) > 40:
                out, width = out + b"\n\t" + word, 8 + len(word)
            else:
                out, width = out + b" " + word, width + 1 + len(word)
        field[1] = out
    return mail.bytes()


def rename_fields(how):
    def bend(raw):
        mail = read(raw)
        if not mail:
            return None
        for part in [mail] + mail.leaves():
            for field in part.fields:
                field[0] = how(field[0]) if re.fullmatch(rb"[\w-]+", field[0]) else field[0]
        return mail.bytes()
    return bend


def more_fields(raw):
    mail = read(raw)
    if not mail:
        return None
    top = [[b"Received", b" from mx-in.relay.test (mx-in.relay.test [192.0.2.77])\n\tby store.relay.test"
            b" (Postfix) with ESMTPS id 550511AB\n\tfor <news@our.test>; Mon, 2 Nov 2026 05:50:11 +0900"],
           [b"Authentication-Results", b" store.relay.test; spf=pass smtp.helo=mx.test; dkim=none"],
           [b"X-Spam-Status", b" No, score=-1.9 required=5.0"],
           [b"X-Spam-Flag", b" NO"]]
    mail.fields = top + mail.fields
    return mail.bytes()


def rename_boundaries(raw):
    mail = read(raw)
    if not mail or not mail.children:
        return None
    todo, number = [mail], 0
    while todo:
        part = todo.pop()
        todo += part.children
        old = part.parameter("boundary")
        if part.children:
            number += 1
            value = part.get("Content-Type").replace(old.encode("latin-1"),
                                                     b"=_new (%d) 550/5.1.1" % number)
            if b'"' not in value:
                value = re.sub(rb"(boundary\s*=\s*)([^;]+)", rb'\1"\2"', value)
            part.set("Content-Type", value.strip())
            if part.parameter("boundary") == old:
                return None
    return mail.bytes()


def nest(raw):
    mail = read(raw)
    if not mail:
        return None
    inner = Part(b"\n")
    for name in ("Content-Type", "Content-Transfer-Encoding"):
        value = mail.get(name)
        if value:
            inner.fields.append([name.encode(), value])
            mail.drop(name)
    inner.children, inner.body, inner.preamble = mail.children, mail.body, mail.preamble
    mail.set("MIME-Version", b"1.0")
    mail.set("Content-Type", b'multipart/mixed; boundary="outer-of-all"')
    mail.children, mail.body, mail.preamble, mail.has_gap = [inner], b"", b"", True
    return mail.bytes()


FOOTER = ("-- \n_______________________________________________\nNews mailing list  news@our.test\n"
          "https://lists.our.test/listinfo/news\n")


def footer_part(raw):
    bent = nest(raw)
    mail = read(bent) if bent else None
    if not mail:
        return None
    part = Part(b"Content-Type: text/plain; charset=us-ascii\n\n" + FOOTER.encode())
    mail.children.append(part)
    return mail.bytes()


def scanner_line(raw):
    """What a gateway writes under the prose of a mail with parts."""
    mail = read(raw)
    leaves = [p for p in mail.leaves() if p.type() == "text/plain"] if mail else []
    if not mail or not mail.children or not leaves or leaves[0].text() is None:
        return None
    leaves[0].set_text(leaves[0].text() + "\n\nThis mail was scanned for viruses.\n"
                       "Questions: postmaster@relay.test\n")
    return mail.bytes()


def wrap(width):
    def change(leaf):
        text = leaf.text()
        if text is None:
            return False
        out = []
        for line in text.split("\n"):
            while len(line) > width and line.rfind(" ", 1, width) > 0:
                cut = line.rfind(" ", 1, width)
                out.append(line[:cut])
                line = line[cut + 1:]
            out.append(line)
        if "\n".join(out) == text:
            return False
        return leaf.set_text("\n".join(out))
    return lambda raw: each_leaf(raw, lambda p: p.type() == "text/plain", change)


def to_html(raw):
    def change(leaf):
        text = leaf.text()
        if text is None:
            return False
        lines = html.escape(text, quote=False).split("\n")
        return leaf.set_text("<html><head><title>Mail</title></head><body>\n"
                             + "<br>\n".join(lines) + "\n</body></html>\n", "html")
    mail = read(raw)
    if mail and any(p.type() == "text/html" for p in mail.leaves()):
        return None
    return each_leaf(raw, lambda p: p.type() == "text/plain", change)


def to_html_escaped(raw):
    """As a program writes it that escapes all but letters and links addresses."""
    def change(leaf):
        text = leaf.text()
        if text is None:
            return False
        out = []
        for line in text.split("\n"):
            line = html.escape(line).replace("@", "&#x40;")
            line = re.sub(r"([\w.+-]+&#x40;[\w.-]+\w)", r'<a href="mailto:\1">\1</a>', line)
            out.append(f"<div>{line}&nbsp;</div>" if line.strip() else "<div><br></div>")
        return leaf.set_text("<body>" + "\n".join(out) + "</body>", "html")
    mail = read(raw)
    if mail and any(p.type() == "text/html" for p in mail.leaves()):
        return None
    return each_leaf(raw, lambda p: p.type() == "text/plain", change)


ORIGINALS = ("message/rfc822", "text/rfc822-headers", "message/global")


def without_original(raw):
    mail = read(raw)
    if not mail or len(mail.children) < 2 or mail.children[-1].type() not in ORIGINALS:
        return None
    del mail.children[-1]
    return mail.bytes()


def original_headers(raw):
    mail = read(raw)
    if not mail or not mail.children or mail.children[-1].type() != "message/rfc822":
        return None
    last = mail.children[-1]
    if last.encoding() in ("base64", "quoted-printable"):
        return None
    last.body = last.body.lstrip(b"\n").partition(b"\n\n")[0] + b"\n"
    last.set("Content-Type", b"text/rfc822-headers")
    return mail.bytes()


def flatten(raw):
    """One text: prose, fields of the report, returned header."""
    mail = read(raw)
    if not mail or not any(p.type() == "message/delivery-status" for p in mail.leaves()):
        return None
    out = ""
    for leaf in mail.leaves():
        data = leaf.text() if leaf.type() == "text/plain" else leaf.decoded().decode("latin-1")
        if data is None or leaf.type() == "text/html":
            return None
        if leaf.type() in ORIGINALS:
            data = "----- Original message -----\n\n" + data
        out += data + "\n"
    mail.children, mail.preamble = [], b""
    mail.set_text(out)
    return mail.bytes()


def report_as_mixed(raw):
    mail = read(raw)
    if not mail or not mail.children or mail.type() != "multipart/report":
        return None
    value = re.sub(rb"multipart/report", b"multipart/mixed", mail.get("Content-Type"), flags=re.I)
    value = re.sub(rb"report-type\s*=\s*\"?[\w-]+\"?\s*;?", b"", value)
    mail.set("Content-Type", value.strip())
    return mail.bytes()


def bare_from(raw):
    """The display name of a mail system away, where the address says it as well."""
    mail = read(raw)
    if not mail:
        return None
    found = re.search(rb"(mailer-daemon|postmaster)@[\w.-]+", mail.get("From"), re.I)
    if not found or found.group(0) == mail.get("From").strip():
        return None
    mail.set("From", b"<" + found.group(0) + b">")
    return mail.bytes()


def named_from(raw):
    mail = read(raw)
    found = re.search(rb"(mailer-daemon|postmaster)@[\w.-]+", mail.get("From"), re.I) if mail else None
    if not found:
        return None
    mail.set("From", b'"=?utf-8?B?' + base64.b64encode("メールシステム".encode()) + b'?=" <'
             + found.group(0) + b">")
    return mail.bytes()


def no_return_path(raw):
    mail = read(raw)
    if not mail or not re.search(rb"mailer-daemon|postmaster", mail.get("From"), re.I):
        return None
    return mail.bytes() if mail.drop("Return-Path") else None


def encoded_subject(raw):
    mail = read(raw)
    subject = re.sub(rb"\n[ \t]+", b" ", mail.get("Subject")).strip() if mail else b""
    if not subject or b"=?" in subject or any(b > 126 for b in subject):
        return None
    mail.set("Subject", b"=?utf-8?Q?" + subject[:8].replace(b"=", b"=3D").replace(b"?", b"=3F")
             .replace(b"_", b"=5F").replace(b" ", b"_") + b"?=\n =?UTF-8?B?"
             + base64.b64encode(subject[8:]) + b"?=")
    return mail.bytes()


def is_status(part):
    return part.type() == "message/delivery-status"


def in_status(pattern, put, only_with=None):
    """Changes the fields of the report; only_with: groups that have it."""
    def change(leaf):
        groups = re.split(r"\n[ \t]*\n", leaf.decoded().decode("latin-1"))
        old = list(groups)
        for i, group in enumerate(groups):
            if only_with is None or re.search(only_with, group, re.I | re.M):
                groups[i] = re.sub(pattern, put, group, flags=re.I | re.M)
        if groups == old:
            return False
        return leaf.encode("\n\n".join(groups).encode("latin-1"), "7bit")
    return lambda raw: each_leaf(raw, is_status, change)


def orcpt(raw):
    def change(leaf):
        text = leaf.decoded().decode("latin-1")
        if re.search(r"^Original-Recipient", text, re.I | re.M):
            return False
        return leaf.encode(re.sub(r"^Final-Recipient:[ \t]*(.*@.*)$",
                                  r"Final-Recipient: \1\nOriginal-Recipient: \1", text,
                                  flags=re.I | re.M).encode("latin-1"), "7bit")
    return each_leaf(raw, is_status, change)


def trailing_blanks(raw):
    return each_leaf(raw, lambda p: p.type() == "text/plain" and not p.encoding() == "base64",
                     lambda p: setattr(p, "body", re.sub(rb"(?<=[^\n])\n", b" \n", p.body)))


def without_end(raw):
    """The closing boundary is lost."""
    mail = read(raw)
    if not mail or not mail.children:
        return None
    return re.sub(rb"\n--[^\n]*--\s*$", b"\n", mail.bytes())


ADDRESS = r"^((?:Final|Original)-Recipient:)[ \t]*rfc822[ \t]*;[ \t]*<?([^\s<>;]+@[^\s<>;]+)>?[ \t]*$"

BENDS = [
    ("text as base64", to_encoding("base64")),
    ("text as quoted-printable", to_encoding("quoted-printable")),
    ("report as base64", to_encoding("base64", is_status)),
    ("report as quoted-printable", to_encoding("quoted-printable", is_status)),
    ("utf-8", to_charset("utf-8")),
    ("utf-16", to_charset("utf-16")),
    ("utf-7", to_charset("utf-7")),
    ("iso-2022-jp", to_charset("iso-2022-jp")),
    ("shift_jis", to_charset("shift_jis")),
    ("euc-jp", to_charset("euc-jp")),
    ("gb18030", to_charset("gb18030")),
    ("CRLF", lambda raw: raw.replace(b"\n", b"\r\n")),
    ("CR CR LF", lambda raw: raw.replace(b"\n", b"\r\r\n")),
    ("header folded", refold),
    ("fields in capitals", rename_fields(bytes.upper)),
    ("fields in small letters", rename_fields(bytes.lower)),
    ("more fields on top", more_fields),
    ("blank lines first", lambda raw: b"\n\n" + raw),
    ("byte order mark", lambda raw: b"\xef\xbb\xbf" + raw),
    ("line of a mailbox first", lambda raw: b"From MAILER-DAEMON Mon Nov  2 05:50:11 2026\n" + raw),
    ("blanks at line ends", trailing_blanks),
    ("other boundaries", rename_boundaries),
    ("closing boundary lost", without_end),
    ("inside multipart/mixed", nest),
    ("twice inside", lambda raw: nest(nest(raw).replace(b"outer-of-all", b"outer-2")) if nest(raw) else None),
    ("footer of a list as a part", footer_part),
    ("line of a scanner", scanner_line),
    ("wrapped at 72", wrap(72)),
    ("wrapped at 60", wrap(60)),
    ("HTML", to_html),
    ("HTML with entities", to_html_escaped),
    ("original omitted", without_original),
    ("original as header", original_headers),
    ("one text", flatten),
    ("report as multipart/mixed", report_as_mixed),
    ("sender without name", bare_from),
    ("sender with a name", named_from),
    ("return path lost", no_return_path),
    ("subject encoded", encoded_subject),
    ("status left out", in_status(r"^Status:.*\n", "",
                                  r"^Diagnostic-Code:[^\n]*\b([45]\d\d)[ -#]+[45]\.\d+\.\d+\b")),
    ("address in brackets", in_status(ADDRESS, r"\1 rfc822; <\2>")),
    ("RFC822;address", in_status(ADDRESS, r"\1 RFC822;\2")),
    ("address without type", in_status(ADDRESS, r"\1 \2")),
    ("blanks before the semicolon", in_status(ADDRESS, r"\1 rfc822 ;  \2")),
    ("original recipient added", orcpt),
    ("action in capitals", in_status(r"^Action:[ \t]*(\w+)", lambda m: "Action: " + m.group(1).upper())),
    ("status with comment", in_status(r"^(Status:[ \t]*\d\.\d+\.\d+)[ \t]*$", r"\1 (as told)")),
]


def forward(raw):
    """A person forwards the notice, quoted: no longer a notice."""
    mail = read(raw)
    if not mail:
        return None
    prose = [leaf.text() for leaf in mail.leaves() if leaf.type() == "text/plain"]
    text = "\n".join(t for t in prose if t is not None)
    if not text.strip():
        return None
    subject = re.sub(rb"\n[ \t]+", b" ", mail.get("Subject")).strip()
    out = Part(b"\n")
    out.fields = [[b"Return-Path", b" <hanako@person.test>"], [b"From", b" Hanako <hanako@person.test>"],
                  [b"To", b" help@our.test"], [b"Subject", b" Fwd: " + subject]]
    out.set_text("Hello, what does this mean?\n\n" + "".join(f"> {line}\n" for line in text.split("\n"))
                 + "\nThank you,\nHanako\n")
    return out.bytes()
