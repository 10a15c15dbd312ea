#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# setup: schema, roles, customers and one campaign, for `docker compose up`. Repeating it is
# harmless: what is there stays.
set -eu
umask 077

demo=/usr/share/kairan/demo
roles=/secrets/kairan/pgpass
made=/secrets/kairan/init.out

# As the owner: makes the roles of the programs. Their passwords are printed only once, as lines
# of a .pgpass file, so they go to a file and nowhere else.
PGUSER=kairan PGPASSFILE=/secrets/owner/pgpass kairan init --role-passwords yes >"$made"
grep -E '^[^: ]+:[0-9]+:kairan:kairan_[a-z]+:[^ ]+$' "$made" >>"$roles" || true
grep -vE '^[^: ]+:[0-9]+:kairan:kairan_[a-z]+:' "$made" || true
rm -f "$made"

kairan customer import "$demo/customers.csv"
kairan campaign create "$demo/welcome.ini"
# the same run key never sends twice: 6 says that it was started before
kairan campaign start welcome --run-key compose || [ $? -eq 6 ]
