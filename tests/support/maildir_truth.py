#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The ground truth of a mail server that keeps what it gets in files: one JSON line for each mail of
ours below the folders, with the members of fake_relay.py's log that tests compare.

    maildir_truth.py --name NAME FOLDER...
"""

import argparse
import email
import json
import os

from fake_relay import decode_token


def mails(folders):
    for top in folders:
        for folder, _, names in os.walk(top):
            for name in names:
                with open(os.path.join(folder, name), "rb") as f:
                    yield email.message_from_binary_file(f), os.fstat(f.fileno()).st_mtime


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True, help="of the server, told as relay")
    parser.add_argument("folders", nargs="+")
    args = parser.parse_args()
    for mail, at in mails(args.folders):
        token = mail.get("X-Kairan-Id", "").strip()
        record = {
            "at": at,
            "relay": args.name,
            "to": [next((mail[n] for n in ("Delivered-To", "Envelope-to") if n in mail), "")],
            "from": mail.get("Return-Path", "").strip("<>"),
            "message_id": mail.get("Message-ID", ""),
            "kairan_id": token,
            "kept": True,
            "answered": True,
        }
        place = decode_token(token)
        if place:
            record.update(place)
            print(json.dumps(record, sort_keys=True))


if __name__ == "__main__":
    main()
