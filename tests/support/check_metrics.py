#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""check_metrics: what promtool does not ask of /metrics, and whether dashboard, rules and manual
speak of metrics that there are.

  check_metrics.py text FILE...                 each is well-formed, bounded and names nobody
  check_metrics.py used FILE... -- SCRAPE...     every metric in these files is exported
  check_metrics.py told FILE -- SCRAPE...        every metric of ours is described in this file
  check_metrics.py value FILE 'NAME{LABELS}'    one sample
"""
import json
import re
import sys

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
METRIC = re.compile(r'\b(kairan_[a-z0-9_]+|process_[a-z0-9_]+)\b')
LABELS = {'program', 'version', 'stream', 'class', 'state', 'lease', 'relay', 'source', 'reason', 'le',
          'provider', 'reaction'}
SERIES_MAX = 400  # with two streams; the bounds are those of streams, relays, sources, braked providers


def family_of(name, types):
    for end in ('_bucket', '_sum', '_count'):
        if name.endswith(end) and types.get(name[:-len(end)]) == 'histogram':
            return name[:-len(end)]
    return name


def read(path):
    """types by family, samples as (name, labels) -> value; complains by ValueError"""
    types, helps, samples, closed, last = {}, {}, {}, set(), None
    for number, line in enumerate(open(path, encoding='utf-8'), 1):
        line = line.rstrip('\n')
        if line.startswith('# HELP '):
            name, _, text = line[7:].partition(' ')
            if name in helps or not text or '@' in text:
                raise ValueError(f'{path}:{number}: help of {name}')
            helps[name] = text
            continue
        if line.startswith('# TYPE '):
            name, kind = line[7:].split(' ')
            if name in types or name not in helps or kind not in ('counter', 'gauge', 'histogram'):
                raise ValueError(f'{path}:{number}: type of {name}')
            if (kind == 'counter') != name.endswith('_total'):
                raise ValueError(f'{path}:{number}: {name} is a {kind}')
            types[name] = kind
            continue
        match = SAMPLE.match(line)
        if not match:
            raise ValueError(f'{path}:{number}: no sample: {line}')
        name, inner, value = match[1], match[3] or '', float(match[4])
        family = family_of(name, types)
        if family not in types:
            raise ValueError(f'{path}:{number}: {name} was not announced')
        if family != last and family in closed:
            raise ValueError(f'{path}:{number}: {name} stands apart from its family')
        closed.add(last)
        last = family
        labels, at = {}, 0
        while at < len(inner):
            found = LABEL.match(inner, at)
            if not found or found[1] in labels:
                raise ValueError(f'{path}:{number}: labels {inner}')
            labels[found[1]] = found[2]
            at = found.end()
        if not set(labels) <= LABELS or '@' in inner:
            raise ValueError(f'{path}:{number}: label not foreseen: {inner}')
        key = (name, tuple(sorted(labels.items())))
        if key in samples:
            raise ValueError(f'{path}:{number}: twice: {line}')
        if types[family] != 'gauge' and not value >= 0:
            raise ValueError(f'{path}:{number}: below 0: {line}')
        samples[key] = value
    if len(samples) > SERIES_MAX:
        raise ValueError(f'{path}: {len(samples)} series')
    check_histograms(path, types, samples)
    return types, samples


def check_histograms(path, types, samples):
    for family in (f for f, kind in types.items() if kind == 'histogram'):
        buckets = sorted((float(dict(k)['le']), v) for (n, k), v in samples.items() if n == family + '_bucket')
        counts = [v for _, v in buckets]
        if counts != sorted(counts) or buckets[-1][0] != float('inf') or \
                buckets[-1][1] != samples[(family + '_count', ())]:
            raise ValueError(f'{path}: histogram {family}')


def expressions(path):
    text = open(path, encoding='utf-8').read()
    if not path.endswith('.json'):
        return text
    found = []

    def walk(node):
        if isinstance(node, dict):
            for key, value in node.items():
                if key in ('expr', 'definition') and isinstance(value, str):
                    found.append(value)
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(json.loads(text))
    if len(found) < 20:
        raise ValueError(f'{path}: no dashboard')
    return '\n'.join(found)


def used(paths, scrapes):
    there = {}
    for scrape in scrapes:
        there.update(read(scrape)[0])
    bad = 0
    for path in paths:
        names = {m for m in METRIC.findall(expressions(path)) if family_of(m, there) not in there}
        for name in sorted(names):
            print(f'{path}: {name} is exported by no program')
            bad += 1
    return bad


def missing(path, scrapes):
    text = open(path, encoding='utf-8').read()
    there = sorted({n for s in scrapes for n in read(s)[0] if n.startswith('kairan_')})
    gone = [n for n in there if f'`{n}`' not in text]
    for name in gone:
        print(f'{path}: {name} is not described')
    return len(gone)


def main(argv):
    if argv[1] == 'text':
        for path in argv[2:]:
            read(path)
        return 0
    if argv[1] == 'value':
        types, samples = read(argv[2])
        match = SAMPLE.match(argv[3] + ' 0')
        key = (match[1], tuple(sorted((m[1], m[2]) for m in LABEL.finditer(match[3] or ''))))
        print('%g' % samples[key] if key in samples else '-')
        return 0
    split = argv.index('--')
    files, scrapes = argv[2:split], argv[split + 1:]
    return 1 if (used if argv[1] == 'used' else lambda f, s: missing(f[0], s))(files, scrapes) else 0


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv))
    except ValueError as why:
        print(why)
        sys.exit(1)
