# SPDX-License-Identifier: Apache-2.0
"""Mails bent as the road bends them: gateways, lists, scanners, readers, other writers of reports.

BENDS is a list of (name, function) as in bend_mail.py: none of them changes what a notice says.
ADDED is one of (name, function, what): the function adds a group to a delivery report, what is the
recipient that the verdict has then beside those before. MEN: what a person makes of a notice, which
is none then.
"""
import html
import re

from bend_mail import (ADDRESS, ORIGINALS, Part, each_leaf, in_status, is_prose, is_status, read,
                       to_charset)


def is_plain(part):
    return part.type() == "text/plain"


# ---------------------------------------------------------------- texts

def soft_breaks(raw):
    """Quoted-printable with a soft break in each word, each '@' escaped."""
    def change(leaf):
        if leaf.encoding() == "base64" or leaf.text() is None or not leaf.body.strip():
            return False
        out = []
        for line in leaf.decoded().split(b"\n"):
            cells = [b"=%02X" % b if b > 126 or b in (61, 64, 13) or b < 32 and b != 9 else bytes([b]) for b in line]
            if cells and cells[-1] in (b" ", b"\t"):
                cells[-1] = b"=%02X" % cells[-1][0]
            out.append(b"=\n".join(b"".join(cells[i:i + 23]) for i in range(0, len(cells), 23)))
        leaf.body = b"\n".join(out)
        leaf.set("Content-Transfer-Encoding", b"Quoted-Printable")
        return True
    return each_leaf(raw, is_prose, change)


def on_text(how):
    """how(text) for each plain text, in the charset that it has."""
    def change(leaf):
        text = leaf.text()
        if text is None or not text.strip() or how(text) == text or text.lstrip().startswith("{"):
            return False
        charset = leaf.parameter("charset").lower() or "utf-8"
        try:
            return leaf.set_text(how(text), charset=charset)
        except (UnicodeEncodeError, LookupError):
            return leaf.set_text(how(text))
    return lambda raw: each_leaf(raw, is_plain, change)


def first_text(before, behind):
    """Something before or behind the first text, as a gateway sets it."""
    def bend(raw):
        mail = read(raw)
        leaves = [p for p in mail.leaves() if p.type() == "text/plain"] if mail else []
        text = leaves[0].text() if leaves else None
        if text is None or not text.strip() or text.lstrip().startswith("{"):
            return None
        leaves[0].set_text(before + text + behind)
        return mail.bytes()
    return bend


BANNER = ("CAUTION: This email originated from outside of the organization. Do not click links or open\n"
          "attachments unless you recognize the sender and know the content is safe.\n\n")
LIST = ("\n-- \n_______________________________________________\nNews mailing list  --  news@our.test\n"
        "To unsubscribe send an email to news-leave@our.test\n")
LEGAL = ("\n\nThis e-mail and any attachments are confidential and may be legally privileged. If you are\n"
         "not the intended recipient, please notify the sender and delete it. No virus was found.\n")


def to_table(raw):
    """As a reader shows it that has HTML alone: paragraphs, a link round each address."""
    def change(leaf):
        text = leaf.text()
        if text is None or text.lstrip().startswith("{"):
            return False
        out = []
        for line in text.split("\n"):
            line = html.escape(line)
            line = re.sub(r"([\w.+-]+@[\w.-]+\w)", r'<a href="mailto:\1">\1</a>', line)
            out.append(f"<p class=MsoNormal style='margin:0'><span lang=EN>{line or '&nbsp;'}</span></p>")
        return leaf.set_text("<!DOCTYPE html>\n<html><head><style>p { color: #550; }</style></head><body>"
                             + "\n".join(out) + "</body></html>", "html")
    mail = read(raw)
    if mail and any(p.type() == "text/html" for p in mail.leaves()):
        return None
    return each_leaf(raw, is_plain, change)


def both_forms(raw):
    """Each text as multipart/alternative with an HTML form behind it."""
    mail = read(raw)
    if not mail or any(p.type() == "text/html" for p in mail.leaves()):
        return None
    done = False
    for leaf in mail.leaves():
        text = leaf.text() if leaf.type() == "text/plain" else None
        if text is None or not text.strip() or b"delivery-status" in leaf.get("Content-Description"):
            continue
        plain, other = Part(b"\n"), Part(b"\n")
        plain.set_text(text)
        other.set_text("<html><body>" + "<br>\n".join(html.escape(text, quote=False).split("\n"))
                       + "</body></html>", "html")
        leaf.drop("Content-Transfer-Encoding")
        leaf.set("Content-Type", b'multipart/alternative; boundary="two-forms"')
        leaf.children, leaf.body, leaf.has_gap = [plain, other], b"", True
        done = True
        break
    return mail.bytes() if done else None


def wide_blanks(text):
    return re.sub(r"(?<=\w) (?=\w)", "\u00a0", text)


def quotes(text):
    return re.sub(r"'(?!\S*@)", "\u2019", text).replace('"', "\u201d")


# ---------------------------------------------------------------- headers

def field(name, value):
    def bend(raw):
        mail = read(raw)
        if not mail or mail.get(name):
            return None
        mail.fields.append([name.encode(), b" " + value])
        return mail.bytes()
    return bend


def of_daemon(name, value):
    """What mail systems say of their notices; a person's mail is another one with it."""
    def bend(raw):
        mail = read(raw)
        daemon = mail and re.search(rb"mailer-daemon@|postmaster@", mail.get("From"), re.I)
        return field(name, value)(raw) if daemon and mail.get("Return-Path").strip() == b"<>" else None
    return bend


def subject_front(word):
    def bend(raw):
        mail = read(raw)
        subject = mail.get("Subject").strip() if mail else b""
        if not subject:
            return None
        mail.set("Subject", word + subject)
        return mail.bytes()
    return bend


def no_subject(raw):
    mail = read(raw)
    if not mail or not any(is_status(p) for p in mail.leaves()):
        return None
    return mail.bytes() if mail.drop("Subject") else None


def body_alone(raw):
    """The header is lost: what is left of a report in parts."""
    mail = read(raw)
    # what is guessed to be a boundary has more than two letters
    if not mail or not any(is_status(p) for p in mail.leaves()) or len(mail.parameter("boundary")) < 3:
        return None
    return mail.content()


def commented_type(raw):
    mail = read(raw)
    if not mail or not mail.children:
        return None
    value = mail.get("Content-Type").strip()
    kind, _, rest = value.partition(b";")
    mail.set("Content-Type", kind.upper() + b";\n\t" + rest.strip().replace(b"boundary=", b"BOUNDARY="))
    return mail.bytes()


def boundary_blanks(raw):
    mail = read(raw)
    if not mail or not mail.children:
        return None
    mark = re.escape(b"--" + mail.parameter("boundary").encode("latin-1"))
    return re.sub(rb"(?m)^(" + mark + rb"(?:--)?)$", rb"\1 \t", raw)


def wrong_charset(name):
    def change(leaf):
        text = leaf.text()
        if text is None or not text.isascii() or leaf.encoding() == "base64":
            return False
        leaf.set("Content-Type", leaf.type().encode() + b"; charset=" + name)
        return True
    return lambda raw: each_leaf(raw, is_prose, change)


def cut_original(raw):
    """The receiver keeps no more: the mail ends within the original."""
    mail = read(raw)
    if not mail or len(mail.children) < 2 or mail.children[-1].type() not in ORIGINALS:
        return None
    original = mail.children[-1].body
    at = raw.find(original) if len(original) > 200 else -1
    head = original.find(b"\n\n")
    if b"final-recipient:" in original.lower():
        return None
    return raw[:at + max(head + 2, len(original) * 2 // 3)] if at > 0 else None


# ---------------------------------------------------------------- reports

def on_groups(how, only=rb"(?i)final-recipient"):
    """how(lines) for each group of fields that has one of only; lines with their folds."""
    def change(leaf):
        groups = re.split(rb"\n[ \t]*\n", leaf.decoded().strip(b"\n"))
        old = list(groups)
        for i, group in enumerate(groups):
            if re.search(only, group):
                groups[i] = b"\n".join(how(re.split(rb"\n(?![ \t])", group)))
        if groups == old:
            return False
        return leaf.encode(b"\n\n".join(groups) + b"\n", "7bit" if leaf.decoded().isascii() else "8bit")
    return lambda raw: each_leaf(raw, is_status, change)


def no_gaps(raw):
    """No blank line between the fields of the message and of its only recipient."""
    def change(leaf):
        text = leaf.decoded()
        if len(re.findall(rb"(?mi)^Final-Recipient:", text)) != 1 or not re.search(rb"(?mi)^Reporting-MTA:", text):
            return False
        return leaf.encode(re.sub(rb"\n([ \t]*\n)+", b"\n", text.strip(b"\n")) + b"\n", "8bit")
    return each_leaf(raw, is_status, change)


def folded(lines):
    out = []
    for line in lines:
        if re.match(rb"(?i)diagnostic-code:", line):
            words = re.sub(rb"\n[ \t]+", b" ", line).split(b" ")
            line, width = words[0], 0
            for word in words[1:]:
                width += len(word) + 1
                line += (b"\n\t" if width > 30 else b" ") + word
                width = 0 if width > 30 else width
        out.append(line)
    return out


def as_text(kind):
    def change(leaf):
        leaf.set("Content-Type", kind)
        return True

    def bend(raw):
        mail = read(raw)
        return each_leaf(raw, is_status, change) if mail and mail.type() == "multipart/report" else None
    return bend


def text_of_report(raw):
    """The report alone, without prose before it."""
    mail = read(raw)
    if not mail or not any(is_status(p) for p in mail.children):
        return None
    keep = [p for p in mail.children if not is_prose(p)]
    report = [p for p in mail.children if is_status(p)][0].decoded()
    if len(keep) == len(mail.children) or not re.search(rb"(?mi)^Diagnostic-Code:.*\b[45]\d\d\b", report) \
            or re.search(rb"(?mi)^Final-Recipient:(?!.*@)", report):
        return None
    mail.children = keep
    return mail.bytes()


CODED = r"^Diagnostic-Code:[^\n]*\b(?:smtp;\s*)([45])\d\d[ -]+\1\.\d+\.\d+\b"

OTHER = "zoe.elsewhere@third.test"


def add_group(fields, front):
    group = (f"Final-Recipient: rfc822; {OTHER}\n" + fields).encode()

    def change(leaf):
        groups = [g for g in re.split(rb"\n[ \t]*\n", leaf.decoded().strip(b"\n")) if g.strip()]
        where = next((i for i, g in enumerate(groups) if re.search(rb"(?i)final-recipient", g)), None)
        if where is None or re.search(rb"(?i)reporting-mta", groups[where]):
            return False
        groups.insert(where if front else len(groups), group)
        return leaf.encode(b"\n\n".join(groups) + b"\n", "8bit")
    return lambda raw: each_leaf(raw, is_status, change)


DELIVERED = "Action: delivered\nStatus: 2.0.0\nDiagnostic-Code: smtp; 250 2.0.0 Ok: queued as 4A3B\n"
DELAYED = "Action: delayed\nStatus: 4.4.1\nDiagnostic-Code: smtp; 421 4.4.1 Connection timed out\n"
GONE = ("Action: failed\nStatus: 5.1.1\nRemote-MTA: dns; mx.third.test\n"
        "Diagnostic-Code: smtp; 550 5.1.1 <zoe.elsewhere@third.test>: user unknown\n")
FULL = ("Action: failed\nStatus: 5.2.2\nRemote-MTA: dns; mx.third.test\n"
        "Diagnostic-Code: smtp; 552 5.2.2 Mailbox full\n")

BENDS = [
    ("soft breaks within words", soft_breaks),
    ("windows-1252", to_charset("windows-1252")),
    ("iso-8859-15", to_charset("iso-8859-15")),
    ("koi8-r", to_charset("koi8-r")),
    ("gb2312", to_charset("gb2312")),
    ("euc-kr", to_charset("euc-kr")),
    ("charset unknown", wrong_charset(b"x-unknown")),
    ("charset of a machine", wrong_charset(b"\"ansi_x3.4-1968\"")),
    ("hard blanks", on_text(wide_blanks)),
    ("printed quotes", on_text(quotes)),
    ("tabs before lines", on_text(lambda t: re.sub(r"(?m)^(?=\S)", "\t", t))),
    ("four blanks before lines", on_text(lambda t: re.sub(r"(?m)^(?=\S)", "    ", t))),
    ("blank lines doubled", on_text(lambda t: re.sub(r"\n[ \t]*\n", "\n\n\n", t))),
    ("banner of a gateway", first_text(BANNER, "")),
    ("banner in brackets", first_text("[EXTERNAL EMAIL]\n\n", "")),
    ("footer of a list", first_text("", LIST)),
    ("footer of a lawyer", first_text("", LEGAL)),
    ("HTML of a reader", to_table),
    ("both forms", both_forms),
    ("subject [EXTERNAL]", subject_front(b"[EXTERNAL] ")),
    ("subject [News]", subject_front(b"[News] ")),
    ("subject ***SPAM***", subject_front(b"***SPAM*** ")),
    ("subject {Spam?}", subject_front(b"{Spam?} ")),
    ("no subject", no_subject),
    ("auto-generated", of_daemon("Auto-Submitted", b"auto-generated (failure)")),
    ("auto-replied", of_daemon("Auto-Submitted", b"auto-replied")),
    ("priority", field("X-Priority", b"1 (Highest)")),
    ("header lost", body_alone),
    ("type in capitals", commented_type),
    ("blanks behind boundaries", boundary_blanks),
    ("CR alone", lambda raw: raw.replace(b"\n", b"\r") if b"\r" not in raw else None),
    ("cut in the original", cut_original),
    ("fields in reverse", on_groups(lambda lines: lines[::-1])),
    ("fields sorted", on_groups(lambda lines: sorted(lines, key=bytes.lower))),
    ("no blank line between groups", no_gaps),
    ("fields unknown", on_groups(lambda lines: [b"X-Actual-Recipient: rfc822; wrong@other.test"] + lines
                                 + [b"X-Supplementary-Info: < #4.0.0 none>", b"Will-Retry-Until: never"])),
    ("no remote host", in_status(r"^Remote-MTA:.*\n(?:[ \t].*\n)*", "")),
    ("diagnostic folded", on_groups(folded, rb"(?i)diagnostic-code")),
    ("diagnostic without blank", in_status(r"^(Diagnostic-Code:)[ \t]*smtp[ \t]*;[ \t]*", r"\1SMTP;")),
    ("diagnostic of X-Postfix", in_status(r"^(Diagnostic-Code:)[ \t]*smtp[ \t]*;", r"\1 X-Postfix;", CODED)),
    ("diagnostic of x-unix", in_status(r"^(Diagnostic-Code:)[ \t]*smtp[ \t]*;", r"\1 x-unix;", CODED)),
    ("diagnostic without type", in_status(r"^(Diagnostic-Code:)[ \t]*smtp[ \t]*;[ \t]*", r"\1 ", CODED)),
    ("status of no meaning", in_status(r"^(Status:[ \t]*[45])\.\d+\.\d+", r"\1.0.0", CODED)),
    ("enhanced code behind #", in_status(r"^(Diagnostic-Code:[^\n]*smtp;\s*[45]\d\d)[ -]+([45]\.\d+\.\d+)", r"\1 #\2",
                                         CODED)),
    ("enhanced code in brackets", in_status(r"^(Diagnostic-Code:[^\n]*smtp;\s*[45]\d\d)[ -]+([45]\.\d+\.\d+)",
                                            r"\1 [\2]", CODED)),
    ("enhanced code behind a minus", in_status(r"^(Diagnostic-Code:[^\n]*smtp;\s*[45]\d\d)[ -]+([45]\.\d+\.\d+)",
                                               r"\1-\2", CODED)),
    ("type utf-8", in_status(ADDRESS, r"\1 utf-8; \2")),
    ("type local", in_status(ADDRESS, r"\1 LOCAL; <\2>")),
    ("action with comment", in_status(r"^(Action:[ \t]*\w+)[ \t]*$", r"\1 (as the host said)")),
    ("report as a text", as_text(b"text/plain; charset=us-ascii; name=\"status.txt\"")),
    ("report without prose", text_of_report),
]

ADDED = [
    ("another delivered behind", add_group(DELIVERED, False), f"{OTHER} 2.0.0 250 - delivered"),
    ("another delivered in front", add_group(DELIVERED, True), f"{OTHER} 2.0.0 250 - delivered"),
    ("another delayed behind", add_group(DELAYED, False), f"{OTHER} 4.4.1 421 soft network"),
    ("another gone in front", add_group(GONE, True), f"{OTHER} 5.1.1 550 hard user_unknown"),
    ("another gone behind", add_group(GONE, False), f"{OTHER} 5.1.1 550 hard user_unknown"),
    ("another full behind", add_group(FULL, False), f"{OTHER} 5.2.2 552 soft mailbox_full"),
]


# ---------------------------------------------------------------- persons

def person(subject, text):
    out = Part(b"\n")
    out.fields = [[b"Return-Path", b" <hanako@person.test>"], [b"From", b" Hanako <hanako@person.test>"],
                  [b"To", b" help@our.test"], [b"Subject", subject], [b"MIME-Version", b" 1.0"]]
    out.set_text(text)
    return out


def notice_text(mail):
    prose = [leaf.text() for leaf in mail.leaves() if leaf.type() == "text/plain"]
    return "\n".join(t for t in prose if t is not None)


def forward_inline(raw):
    """As Outlook does it: no '>', the fields of the notice above its text."""
    mail = read(raw)
    text = notice_text(mail) if mail else ""
    if not text.strip():
        return None
    subject = re.sub(rb"\n[ \t]+", b" ", mail.get("Subject")).strip()
    head = "\n".join(f"{n}: " + re.sub(rb"\n[ \t]+", b" ", mail.get(n)).strip().decode("latin-1")
                     for n in ("From", "Date", "To", "Subject"))
    return person(b" FW: " + subject, "Dear all,\n\nplease have a look at this. Any idea?\n\nHanako\n\n"
                  "-----Original Message-----\n" + head + "\n\n" + text).bytes()


def forward_attached(raw):
    mail = read(raw)
    if not mail:
        return None
    subject = re.sub(rb"\n[ \t]+", b" ", mail.get("Subject")).strip()
    out = person(b" Fwd: " + subject, "Hello, what does this mean? It came this morning.\n\nHanako\n")
    first = Part(b"\n")
    first.fields = [f for f in out.fields if f[0].lower().startswith(b"content-")]
    first.body = out.body
    out.fields = [f for f in out.fields if not f[0].lower().startswith(b"content-")]
    out.set("Content-Type", b'multipart/mixed; boundary="as-attachment"')
    inner = Part(b"\n")
    inner.fields = [[b"Content-Type", b" message/rfc822"]]
    inner.body = mail.bytes()
    out.children, out.body = [first, inner], b""
    return out.bytes()


def answered(raw):
    """A person answers below the notice, which has no '>'."""
    mail = read(raw)
    text = notice_text(mail) if mail else ""
    if not text.strip():
        return None
    subject = re.sub(rb"\n[ \t]+", b" ", mail.get("Subject")).strip()
    out = person(b" Re: " + subject, text + "\n\nI do not understand this. Who has sent it?\nHanako\n")
    out.fields.append([b"In-Reply-To", b" <550511@our.test>"])
    return out.bytes()


MEN = [("forwarded with its fields", forward_inline), ("forwarded as a part", forward_attached),
       ("answered above", answered)]
