#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs one compiled test for prove; a fuzz target replays its seeds.
set -euo pipefail
name=$(basename "$1")
case $name in
fuzz_*) exec "$1" "tests/fuzz/${name#fuzz_}.in" ;;
*) CMOCKA_MESSAGE_OUTPUT=TAP exec "$1" ;;
esac
