#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Verifies DKIM signatures with dkimpy (python3-dkim, python3-nacl), keys from a file.

    dkim_verify.py RECORDS SIGNATURES FILE|FOLDER...

RECORDS has lines "NAME TEXT", the DNS name and the text of its TXT record. Every .eml must carry
SIGNATURES valid signatures and no other, and a changed body or an added From must break them.
Prints a line per failure and the number of messages; exit status 1 when any failed.
"""
import pathlib
import sys

import dkim


def valid(raw, index, records):
    def answer(name, timeout=5):
        return records.get(name.rstrip(b".").decode())

    try:
        return dkim.DKIM(raw).verify(index, dnsfunc=answer)
    except dkim.DKIMException as why:
        return str(why)


def faults(raw, wanted, records):
    header = raw.split(b"\r\n\r\n", 1)[0]
    found = header.lower().split(b"\r\n")
    found = sum(line.startswith(b"dkim-signature:") for line in found)
    if found != wanted:
        yield f"{found} signatures instead of {wanted}"
    for index in range(wanted):
        verdict = valid(raw, index, records)
        if verdict is not True:
            yield f"signature {index}: {verdict}"
        if valid(raw + b"more\r\n", index, records) is True:
            yield f"signature {index} holds for a longer body"
        # behind the signature fields: dkimpy counts signatures by their place
        if valid(raw.replace(b"\r\nTo:", b"\r\nFrom: x@evil.example\r\nTo:", 1), index, records) is True:
            yield f"signature {index} holds with another From"
        if valid(raw.replace(b"\r\nTo:", b"\r\nReply-To: x@evil.example\r\nTo:", 1), index, records) is True:
            yield f"signature {index} holds with another Reply-To"


def main():
    records, wanted = {}, int(sys.argv[2])
    for line in pathlib.Path(sys.argv[1]).read_text().splitlines():
        name, _, text = line.partition(" ")
        records[name] = text.encode()
    count = failed = 0
    for argument in map(pathlib.Path, sys.argv[3:]):
        for file in sorted(argument.glob("*.eml")) if argument.is_dir() else [argument]:
            count += 1
            for fault in faults(file.read_bytes(), wanted, records):
                print(f"{file.name}: {fault}")
                failed += 1
    print(f"{count} messages")
    return 1 if failed or not count else 0


sys.exit(main())
