#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
track_compare.py: reads mails that the FAKE relay kept with Python's own email and html parsers.

  show FOLDER RUN ADDRESS          hrefs and image sources of the mail, one a line
  compare FOLDER RUN RUN ADDRESS   the second run's mail is the first one's with other hrefs and
                                   one more image of a pixel, and nothing else: prints "same"
"""
import email
import email.policy
import glob
import html.parser
import sys


class Page(html.parser.HTMLParser):
    """Everything but the values of href, and the links apart."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.rest, self.links, self.images = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.images.append(dict(attrs).get("src"))
        if tag == "img" and "/o/" in (dict(attrs).get("src") or ""):
            assert dict(attrs)["width"] == dict(attrs)["height"] == "1" and dict(attrs)["alt"] == ""
            return
        self.links += [value for name, value in attrs if name == "href"]
        self.rest.append((tag, [(n, None if n == "href" else v) for n, v in attrs]))

    def handle_endtag(self, tag):
        self.rest.append(("/" + tag, []))

    def handle_data(self, data):
        if self.rest and self.rest[-1][0] == "":
            self.rest[-1] = ("", self.rest[-1][1] + data)
        else:
            self.rest.append(("", data))

    def handle_comment(self, data):
        self.rest.append(("!", data))


def mail(folder, run, address):
    for name in glob.glob("%s/*-%s-*.eml" % (folder, run)):
        with open(name, "rb") as file:
            message = email.message_from_binary_file(file, policy=email.policy.default)
        if address in message["to"]:
            return message
    sys.exit("no such mail")


def parts(message):
    page = Page()
    page.feed(message.get_body(("html",)).get_content())
    page.close()
    return message.get_body(("plain",)).get_content(), page


def main():
    if sys.argv[1] == "show":
        _, page = parts(mail(*sys.argv[2:5]))
        print(*page.links, *page.images, sep="\n")
        return
    folder, first, second, address = sys.argv[2:6]
    (text, page), (other_text, other) = (parts(mail(folder, r, address)) for r in (first, second))
    tokens = [[u for u in p.links if u and "/u/" in u or "mailto:" in (u or "")] for p in (page, other)]
    assert len(tokens[0]) == len(tokens[1])
    # the token of the link to unsubscribe is each run's own
    strip = lambda s: "".join(w for w in s.split() if "u+" not in w and "/u/" not in w and "/v/" not in w)
    assert strip(text) == strip(other_text), "the text part differs"
    assert page.rest == other.rest, [x for x in zip(page.rest, other.rest) if x[0] != x[1]][:3]
    assert len(page.links) == len(other.links)
    print("same", sum(a != b for a, b in zip(page.links, other.links)), "of", len(page.links),
          "links changed,", len(other.images) - len(page.images), "image more")


main()
