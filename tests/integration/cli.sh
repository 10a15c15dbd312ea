#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# cli: kairan help, init, local, customer, suppress, send why and dispatcher against a private PostgreSQL.
# Run from anywhere; KAIRAN_BIN: folder of the programs (default bin).
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tools/tap.sh
. "$top/tools/tap.sh"
# shellcheck source=tests/support/services.sh
. "$top/tests/support/services.sh"

kairan=$(realpath "${KAIRAN_BIN:-$top/bin}/kairan" 2>/dev/null) || true
[ -x "$kairan" ] || tap_skip_all "kairan is not built"
unset KAIRAN_CONFIG KAIRAN_DATABASE_URL KAIRAN_KEYS_FILE PGUSER PGHOST PGDATABASE

out=
err=
status=0
# arguments: of kairan; sets out, err, status
k()
{
	status=0
	out=$("$kairan" "$@" 2>"$SERVICES_DIR/err") || status=$?
	err=$(cat "$SERVICES_DIR/err")
}

# arguments: statements; stdout: unaligned rows
sql()
{
	psql -XAtq -v ON_ERROR_STOP=1 -d "$KAIRAN_DATABASE_URL" -c "$1"
}

services_dir SERVICES_DIR
d=$SERVICES_DIR
FAST=1 pg_start "$d" || tap_bail 'no PostgreSQL'
owner_url=$KAIRAN_DATABASE_URL
# without a user each program takes its own role, as in production
plain_url=${owner_url/&user=postgres/}
export KAIRAN_KEYS_FILE=$d/token.key

# ---------------------------------------------------------------- help and usage

k
tap_is "$status" 2 'no command is a usage error'
tap_like "$err" 'kairan local up' 'and shows the commands'
k help
tap_is "$status" 0 'help works'
k inti
tap_is "$status" 2 'unknown command is a usage error'
tap_like "$err" 'did you mean: kairan init' 'and names the nearest one'
k suppress
tap_like "$err" 'suppress add' 'a group without a word lists its commands'
k customer import --help
tap_like "$out" 'Example:' 'help of a command has an example'
k init --wrong --json
tap_is "$status" 2 'unknown option is a usage error'
tap_like "$out" '^\{"error":"unknown option --wrong' 'also as JSON'
k config --sample
tap_like "$out" '\[database\]' 'config --sample'
without=
while read -r key; do
	grep -qxF ".It Ic $key" "$top/man/kairan.conf.5" || without+=" $key"
done < <(sed -n 's/^#\([a-z0-9_]*\) =.*/\1/p' <<<"$out")
tap_is "$without" '' 'every key is in kairan.conf(5)'
k config
tap_like "$out" 'file = '"$d"'/token.key' 'config shows the environment'
	printf '[relay]\nprot = 1\n' >"$d/bad.conf"
k --config "$d/bad.conf" customer count
tap_is "$status" 2 'a wrong configuration is a usage error'
tap_like "$err" 'bad.conf:2: unknown key relay.prot' 'with file and line'
without=
while read -r -a words; do
	k help "${words[@]}"
	[[ $out = *Example* ]] || without+=" ${words[*]},"
done < <("$kairan" help | sed -n 's/^  kairan \([a-z]*\( [a-z]\{1,\}\)\{0,1\}\)  .*/\1/p')
tap_is "$without" '' 'the help of every command has an example'

# ---------------------------------------------------------------- init

KAIRAN_DATABASE_URL="$plain_url" k customer count
tap_is "$status" 1 'a database without schema is refused'
tap_like "$err" 'run: kairan init' 'and says what to do'
k init
tap_is "$status" 0 'init'
tap_like "$out" 'made the schema, version [0-9]+' 'says what it made'
version=$(sql 'SELECT max(version) FROM kairan.migration')
tap_is "$(stat -c %a "$d/token.key")" 600 'the key file is closed'
tap_like "$(cat "$d/token.key")" '^1 [0-9a-f]{64}$' 'and holds one key'
key=$(cat "$d/token.key")
k init
tap_is "$out" "nothing to do, schema is version $version" 'a second init does nothing'
tap_is "$(cat "$d/token.key")" "$key" 'and keeps the key'
tap_is "$(sql "SELECT count(*) FROM pg_class WHERE relname LIKE 'feedback_event_2%' AND relkind = 'r'")" \
	2 'two feedback months are open'
tap_is "$(sql "SELECT count(*) FROM kairan.migration WHERE digest !~ '^[0-9a-f]{64}\$'")" 0 \
	'digests are noted'

sql 'CREATE DATABASE two' >/dev/null
two=${owner_url/\/kairan/\/two}
KAIRAN_DATABASE_URL=$two "$kairan" init >"$d/one.out" 2>&1 &
first=$!
KAIRAN_DATABASE_URL=$two "$kairan" init >"$d/two.out" 2>&1 && second=0 || second=$?
wait "$first" && first=0 || first=$?
tap_is "$first $second" '0 0' 'two inits at once both end well'
[ "$first$second" = 00 ] || tap_note "$(cat "$d/one.out" "$d/two.out")"
tap_is "$(KAIRAN_DATABASE_URL=$two sql 'SELECT count(*) FROM kairan.migration')" "$version" \
	'and each file was applied once'
KAIRAN_DATABASE_URL=$two sql "UPDATE kairan.migration SET digest = 'x' WHERE version = 2"
KAIRAN_DATABASE_URL=$two k init
tap_is "$status" 1 'a file that differs from what was applied is refused'
tap_like "$err" 'schema/002_functions.sql' 'by name'
KAIRAN_DATABASE_URL=$two sql "DELETE FROM kairan.migration WHERE version = 2;
	INSERT INTO kairan.migration VALUES (999, 'schema/999_future.sql', 'x')"
KAIRAN_DATABASE_URL=$two k init --json
tap_is "$status" 1 'F43: a schema newer than the program is refused'
tap_like "$err" 'newer than this program' 'in clear words'
KAIRAN_DATABASE_URL="postgresql:///kairan?host=$d/nowhere" k init
tap_is "$status" 75 'absent PostgreSQL is temporary'
tap_like "$err" 'cannot reach PostgreSQL' 'with a sentence'
KAIRAN_DATABASE_URL=${owner_url/\/kairan/\/nowhere} k init
tap_is "$status" 1 'a database that does not exist is not temporary'
KAIRAN_DATABASE_URL='' k init
tap_is "$status" 2 'no database at all is a usage error'
sql "CREATE ROLE shopkeeper LOGIN CREATEROLE; CREATE ROLE guest LOGIN" >/dev/null
sql 'CREATE DATABASE three OWNER shopkeeper' >/dev/null
three=${owner_url/\/kairan/\/three}
KAIRAN_DATABASE_URL=${three/user=postgres/user=guest} k init
tap_is "$status" 1 'init needs rights'
tap_like "$err" 'as the owner of the database' 'and says which'
KAIRAN_DATABASE_URL=${three/user=postgres/user=shopkeeper} k init
tap_is "$status" 0 'an owner who is no superuser can init'
[ "$status" -eq 0 ] || tap_note "$err"

# ---------------------------------------------------------------- address keys: SQL as C

sql "INSERT INTO kairan.idn VALUES ('bücher.example', 'xn--bcher-kva.example'),
	('日本.jp', 'xn--wgv71a.jp'), ('例え.テスト', 'xn--r8jz45g.xn--zckzah'),
	(U&'\\200Bexample.com', 'example.com')"
differ=$(psql -XAtq -v ON_ERROR_STOP=1 -d "$KAIRAN_DATABASE_URL" <<EOF
CREATE TEMP TABLE t (line serial, input text, key text);
\\copy t (input, key) FROM PROGRAM 'sed ''s/\\\\\\\\/&&/g'' "$top/tests/data/addresses.tsv"'
SELECT input, key, kairan.address_key(input) FROM t
WHERE coalesce(kairan.address_key(input), '-') <> key;
SELECT 'too few' FROM t HAVING count(*) < 60;
EOF
)
tap_is "$differ" '' 'kairan.address_key() gives the answers of common/addr.c'

# ---------------------------------------------------------------- customers

export KAIRAN_DATABASE_URL=$plain_url
{
	printf '\xef\xbb\xbfemail,name,plan,consent_at,status\r\n'
	printf 'Taro@Example.JP,"太郎, ""T""\r\nYamada",gold,2026-01-31,\r\n'
	printf 'b@example.com,B\x07ob,silver,2026-02-28T10:00:00+09:00,vip\n'
	printf 'taro@example.jp,again,,,\nnot an address,x,,,\nc@example.com,C,,2026-02-30,\n'
	printf 'd@example.com,\xff,,,\ne@example.com,too,many,2026-01-01,columns,here\n'
	printf 'f@bücher.example,F,"a\nb""\\c",,\n'
} >"$d/a.csv"
k customer import "$d/a.csv" --json --rejects "$d/rejects.csv"
tap_is "$status" 0 'import with rejected lines'
tap_like "$out" '"read":8,"imported":3,"updated":0,"unchanged":0,"rejected":5,"cleaned":2' 'counts'
tap_like "$err" 'line 5: same address as an earlier line \(line 2\)' 'names the twin'
tap_like "$err" 'line 7: consent_at is no possible time' 'names an impossible date'
tap_is "$(head -n 1 "$d/rejects.csv"; wc -l <"$d/rejects.csv")" "line,reason
6" 'the file of rejects has them all'
export KAIRAN_DATABASE_URL=$owner_url
tap_is "$(sql "SELECT name, attributes->>'plan', status FROM kairan.customer WHERE email = 'Taro@example.jp'")" \
	'太郎, "T" Yamada|gold|active' 'a quoted name with a line end is cleaned'
tap_is "$(sql "SELECT attributes->>'plan' FROM kairan.customer WHERE email = 'f@xn--bcher-kva.example'")" \
	'a
b"\c' 'attributes keep line ends, quotes and backslashes'
tap_is "$(sql "SELECT extract(epoch FROM consent_at)::bigint FROM kairan.customer WHERE name = 'B ob'")" \
	1772240400 'consent time with its zone'
export KAIRAN_DATABASE_URL=$plain_url
k customer import "$d/a.csv" --json --quiet
tap_like "$out" '"imported":0,"updated":0,"unchanged":3' 'the same file again changes nothing'
printf 'mail,plan,city,status\nb@example.com,,Osaka,\nnew@example.com,x,,\n' >"$d/b.csv"
k customer import "$d/b.csv" --json
tap_is "$status" 2 'no column email is a usage error'
tap_like "$err" '\-\-map NAME=email' 'and says how to name it'
k customer import "$d/b.csv" --map mail=email --new-only --json
tap_like "$out" '"imported":1,"updated":0,"unchanged":1' '--new-only leaves known addresses'
k customer import - --map=mail=email --json <"$d/b.csv"
tap_like "$out" '"imported":0,"updated":1,"unchanged":1' 'import from standard input updates'
tap_is "$(KAIRAN_DATABASE_URL=$owner_url sql "SELECT attributes->>'plan', attributes->>'city', status FROM kairan.customer WHERE email = 'b@example.com'")" \
	'silver|Osaka|vip' 'attributes are merged, an empty cell erases nothing'
printf 'email\ng@example.com\nbad\n' >"$d/c.csv"
k customer import "$d/c.csv" --strict
tap_is "$status" 1 '--strict refuses a file with a bad line'
k customer count --json
tap_is "$out" '{"customers":4}' 'and nothing of it was imported'
printf 'email;name\nx@example.com;X\n' >"$d/d.csv"
k customer import "$d/d.csv"
tap_like "$err" "add --separator ';'" 'another separator is recognised'
k customer import "$d/d.csv" --separator ';'
tap_is "$status" 0 'and read'
printf '1,2\n' | "$kairan" customer import - >/dev/null 2>&1 && status=0 || status=$?
tap_is "$status" 2 'a file without header is refused'
printf 'id,email\n500,id@example.com\n501,id@example.com\n500,id2@example.com\n' >"$d/id.csv"
KAIRAN_DATABASE_URL=$owner_url k customer import "$d/id.csv" --json
tap_like "$out" '"imported":1.*"rejected":2' 'ids and addresses are unique within a file'
said=
for each in ' ,email' 'email,a\001b' 'email,Email' 'email,a,a' 'a\tb' '"email' ''; do
	# shellcheck disable=SC2059 # it has escapes
	printf "$each" >"$d/head.csv"
	k customer import "$d/head.csv"
	said+="$status ${err:8:40}
"
done
tap_is "$said" '2 column 1 has no usable name in the heade
2 the name of column 2 holds a control cha
2 two columns are email; name one otherwis
2 two columns are named a; drop one with -
2 the columns seem to be separated by tabs
2 header line: quotation mark never closed
2 the file is empty; its first line must n
' 'each header line that cannot be used says why'
{
	printf 'id,email,locale,time_zone\n0,a1@x.example,,\n5x,a2@x.example,,\n1234567890123456789,a3@x.example,,\n'
	printf '300,a4@x.example,日本,\n301,a5@x.example,,Asia/To kyo\n302,a6@x.example,"ja\n'
} >"$d/cells.csv"
KAIRAN_DATABASE_URL=$owner_url k customer import "$d/cells.csv" --json --rejects "$d/rejects.csv"
tap_is "$(sed '1d; s/^[0-9]*,//; s/"//g' "$d/rejects.csv" | sort | uniq -c | sed 's/^ *//' | cut -c1-48)" \
	'3 id is not a positive number
1 locale is no language tag like ja or en-GB
1 quotation mark never closed (through line 8)
1 time_zone is no name like Asia/Tokyo' 'each bad cell has its reason'
bad_times=('2026-01/31' '2026-13-01' '2026-02-29' '1900-02-29' 1899-12-31 2026-01-00 20260131 2026-01-31x 2026-01-31T24:00
	2026-01-31T09:60 2026-01-31T0930 2026-01-31T09:30:60 2026-01-31T09:30:00.1234567890 2026-01-31T09:30+15 2026-01-31T09:30+9
	'2026/01-31' 2026-1-31 99-01-01 2026-01-31T09:30+09:60 2026-01-31T09:30+09: 2026-01-31T09:30Zx)
good_times=(2024-02-29 2000-02-29 2026/01/31 2026-01-31t09:30z '2026-01-31 09:30:59.123456789 +0900' 2026-01-31T09:30-14:59)
{
	printf 'email,consent_at\n'
	i=0
	for each in "${bad_times[@]}" "${good_times[@]}"; do
		printf 't%d@time.example,%s\n' "$((i += 1))" "$each"
	done
} >"$d/times.csv"
k customer import "$d/times.csv" --json
tap_like "$out" "\"imported\":${#good_times[@]},.*\"rejected\":${#bad_times[@]}," 'times that PostgreSQL would refuse are left out, the others taken'
k customer import "$d/times.csv"
tap_like "$err" '1 more; --rejects FILE' 'twenty of them are shown'
printf 'email\nafter@example.com\n' >"$d/e.csv"
k customer import "$d/e.csv" --json
tap_is "$(KAIRAN_DATABASE_URL=$owner_url sql "SELECT id > 500 FROM kairan.customer WHERE email = 'after@example.com'")" \
	t 'ids given later do not meet those of the file'

# ---------------------------------------------------------------- suppression

k suppress add Taro@Example.jp +tag@example.com --note 'asked by telephone' --json
tap_like "$out" '"added":2,"changed":0,"already":0' 'suppress add'
k suppress add taro@example.jp --reason complaint --expires 14d --json
tap_like "$out" '"added":1' 'another reason is an entry of its own'
k suppress add taro@example.jp --expires 14d --json
tap_like "$out" '"already":1' 'what is there is not made weaker'
k suppress check TARO@example.jp --json
tap_is "$status" 0 'check says suppressed'
tap_like "$out" '"reason":"complaint".*"reason":"manual","state":"for good".*"expires_at":null' 'and the later end stays'
k suppress check nobody@example.com
tap_is "$status" 6 'check says not suppressed'
k suppress add good@example.com bad
tap_is "$status" 2 'one wrong address: usage error'
k suppress check good@example.com
tap_is "$status" 6 'and none was added'
k suppress add list@example.com --scope list:news --expires 2099-01-31
k suppress check list@example.com --scope list:other
tap_is "$status" 6 'a scope counts for itself only'
k suppress check list@example.com --scope list:news
tap_is "$status" 0 'and there it counts'
k suppress add x@example.com --scope everything
tap_is "$status" 2 'unknown scope is a usage error'
printf '# comment\ns1@example.com\n\ns2@example.com\nwrong\n' >"$d/s.txt"
k suppress import "$d/s.txt" --json
tap_like "$out" '"read":3,"added":2.*"rejected":1' 'import of plain addresses'
printf 'EmailAddress,Reason,LastUpdateTime\ns3@example.com,BOUNCE,2026-01-02T03:04:05+00:00\n' |
	"$kairan" suppress import - >/dev/null
printf '{"SuppressedDestinationSummaries":[{"EmailAddress":"s4@example.com","Reason":"COMPLAINT","LastUpdateTime":"2026-01-02T03:04:05+00:00"}]}\n{"EmailAddress":"s5@example.com","Reason":"BOUNCE"}' |
	"$kairan" suppress import - >/dev/null
k suppress list --reason bounce --json
tap_like "$out" 's5@example.com.*s3@example.com' 'import of SES lists as CSV and JSON'
k suppress export "$d/export.csv"
tap_like "$(cat "$d/export.csv")" "^address,.*'\\+tag@example.com,manual" 'export guards formulas'
tap_is "$(stat -c %a "$d/export.csv")" 600 'the export is closed to others'
before=$(KAIRAN_DATABASE_URL=$owner_url sql 'SELECT address_key, scope, reason, expires_at FROM kairan.suppression ORDER BY 1, 2, 3')
KAIRAN_DATABASE_URL=$owner_url sql 'DELETE FROM kairan.suppression'
k suppress import "$d/export.csv"
tap_is "$(KAIRAN_DATABASE_URL=$owner_url sql 'SELECT address_key, scope, reason, expires_at FROM kairan.suppression ORDER BY 1, 2, 3')" \
	"$before" 'export and import give the same list'
k suppress remove taro@example.jp
tap_is "$status" 0 'remove'
k suppress remove taro@example.jp
tap_is "$status" 6 'nothing to remove'
tap_is "$(KAIRAN_DATABASE_URL=$owner_url sql "SELECT count(*) FROM kairan.audit WHERE action = 'suppress.remove' AND object = 'taro@example.jp' AND detail LIKE 'all complaint%'")" \
	1 'what was removed is in the audit'

# ---------------------------------------------------------------- why

k send why list@example.com
tap_is "$status" 0 'send why'
tap_like "$out" 'suppressed' 'tells of the suppression'
k send why list@example.com --json
tap_like "$out" '^\[\{"at":"[0-9-]+ .*"what":"suppressed"' 'as JSON'
k send why unknown@example.com
tap_is "$status" 6 'nothing is known'
KAIRAN_DATABASE_URL=$owner_url sql "DELETE FROM kairan.suppression;
	INSERT INTO kairan.suppression (address_key, reason, evidence) VALUES ('esc@example.com', 'manual', E'\\x1b[2Jx')"
k send why esc@example.com
tap_is "${out//[^$'\x1b']/}" '' 'what remote hosts say cannot drive the terminal'

# ---------------------------------------------------------------- dispatchers behind a fail-over

k dispatcher missing
tap_is "$status $out" '6 (none)' 'without a fail-over no dispatcher is waited for'
k dispatcher forget tokyo
tap_is "$status" 6 'nor can one be forgotten'
tap_is "$err" "kairan: nobody waits for a dispatcher named 'tokyo'" 'which is said'
# tokyo had lost its folder once and has two locks; kobe had ended
KAIRAN_DATABASE_URL=$owner_url sql "SELECT kairan.installation_enter() IS NULL;
	INSERT INTO kairan.dispatcher (name, host, lock_id, stopped_at) VALUES
		('tokyo', 'h1', 't', NULL), ('tokyo', 'h1', 'u', NULL), ('osaka', 'h2', 'o', NULL), ('kobe', 'h3', 'k', now());
	UPDATE kairan.installation SET timeline = timeline - 1;
	UPDATE kairan.dispatcher SET began = began - 1, heard = heard - 1" >/dev/null
k dispatcher missing --json
tap_is "$status $(jq -r 'map(.name + " on " + .host) | join(", ")' <<<"$out")" '0 osaka on h2, tokyo on h1, tokyo on h1' \
	'behind a fail-over those who had not ended are listed'
for arguments in '' 'tokyo osaka' '--all'; do
	read -ra words <<<"$arguments"
	k dispatcher forget "${words[@]}"
	tap_is "$status" 2 "forget '$arguments' is a usage error"
done
k dispatcher missing tokyo
tap_is "$status" 2 'so is missing with a name'
for name in kobe kyoto ''; do
	k dispatcher forget "$name"
	tap_is "$status $err" "6 kairan: nobody waits for a dispatcher named '$name'" "'$name' is not waited for"
done
KAIRAN_DATABASE_URL=${owner_url/user=postgres/user=kairan_monitor} k dispatcher forget tokyo
tap_is "$status" 1 'to forget takes the right to'
tap_like "$err" 'connect as kairan_operator or as the owner' 'and says which'
KAIRAN_DATABASE_URL="postgresql:///kairan?host=$d/nowhere" k dispatcher forget tokyo
tap_is "$status" 75 'and PostgreSQL'
k dispatcher missing --json
tap_is "$(jq length <<<"$out")" 3 'none of these forgot anybody'
k dispatcher forget tokyo
tap_is "$status" 0 'one that does not come back is forgotten'
tap_like "$out" '^tokyo is not waited for any more; what it is known to have held is in doubt$' 'and what that means is said'
k dispatcher missing --json
tap_is "$(jq -r 'map(.name) | join(" ")' <<<"$out")" osaka 'with all its lives, and the other one stays'
k dispatcher forget tokyo
tap_is "$status" 6 'once'
k dispatcher forget osaka --json
tap_is "$status $out" '0 {"forgotten":"osaka","lives":1}' 'also as JSON'
k dispatcher missing
tap_is "$status" 6 'then nobody is waited for'
tap_is "$(KAIRAN_DATABASE_URL=$owner_url sql "SELECT string_agg(object, ' ' ORDER BY id), (SELECT count(*) FROM kairan.dispatcher WHERE fenced_at IS NULL) FROM kairan.audit WHERE action = 'quarantine.forget'")" \
	'tokyo osaka|1' 'the audit has both, and should they come back, they may not send'

# ---------------------------------------------------------------- a table of one's own

export KAIRAN_DATABASE_URL=$owner_url
sql "CREATE SCHEMA shop; CREATE TABLE shop.members (no int PRIMARY KEY, mail text, full_name text);
	INSERT INTO shop.members VALUES (1, 'a@example.com', 'A'), (2, 'b@example.com', 'B')"
query='SELECT no AS id, mail AS email, full_name AS name FROM shop.members'
k customer use "$query"
tap_is "$status" 1 'a customer table with rows is not dropped'
k customer use 'SELECT no AS id, full_name FROM shop.members' --force-drop-table
tap_is "$status" 1 'a query without email is refused'
tap_like "$err" 'column email' 'with a sentence'
k customer use 'SELECT 1 AS id, mail AS email FROM shop.members' --force-drop-table
tap_like "$err" 'more than once' 'ids that repeat are refused'
k customer use "$query; DROP TABLE shop.members" --force-drop-table
tap_is "$status" 1 'two statements are refused'
tap_is "$(sql "SELECT relkind FROM pg_class WHERE oid = 'kairan.customer'::regclass")" r \
	'and the table is still there'
k customer use "$query" --force-drop-table
tap_is "$status" 0 'customer use'
for each in dispatcher segment operator; do
	tap_is "$(sql "SET ROLE kairan_$each; SELECT count(*) FROM kairan.customer")" 2 "$each reads the view"
done
k customer import "$d/e.csv"
tap_is "$status" 1 'import into a view is refused'
tap_like "$err" 'into that table' 'and says where'
k init
tap_is "$out" "nothing to do, schema is version $version" 'init works with the view'
k customer use 'SELECT no AS id, mail AS email FROM shop.members'
tap_is "$status" 0 'a view is replaced by another'

# ---------------------------------------------------------------- local

unset KAIRAN_DATABASE_URL KAIRAN_KEYS_FILE
mkdir "$d/a folder"
chmod 711 "$d/a folder"
for each in "$d/local" "$d/a folder/local with 'quotes' and a name that is much too long for the path of a unix socket, which has 107 bytes"; do
	k local status "$each"
	tap_is "$status" 1 'local status before'
	k local up "$each"
	tap_is "$status" 0 'local up'
	[ "$status" -eq 0 ] || tap_note "$err"
	config=$(eval "$out" && printf %s "$KAIRAN_CONFIG")
	tap_is "$(stat -c %a "$config")" 600 'its configuration is closed'
	k --config "$config" customer count
	tap_is "$out" '0 customers' 'its database works'
	k local up "$each" --json
	tap_like "$out" '"postgresql_started":false,"redis_started":false' 'up again starts nothing'
	k local status "$each"
	tap_is "$status" 0 'local status'
	k local down "$each"
	tap_is "$status" 0 'local down'
	k local status "$each"
	tap_is "$status" 1 'local status after'
done
k local down "$d"
tap_is "$status" 6 'down of another folder does nothing'

tap_done
