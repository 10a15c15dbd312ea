#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make check-pages: draws every page for recipients with a headless Chromium, on a telephone
# (light and dark) and on a desk, into build/pages. Pictures are for a person to look at; what is
# checked here is that each was drawn and that no page is wider than a telephone.
set -euo pipefail
cd "$(dirname "$0")/.."
samples=$1
out=build/pages
chromium=$(command -v chromium) || {
	echo "check-pages: chromium is not installed (Debian package chromium)" >&2
	exit 1
}
rm -rf "$out"
mkdir -p "$out"
"$samples" "$out"
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT
failed=0

# arguments: page, name of the picture, width and height, further options
draw() {
	local page=$1 picture=$2 size=$3

	shift 3
	timeout 60 "$chromium" --headless --no-sandbox --disable-gpu --no-first-run --user-data-dir="$profile" \
		--hide-scrollbars --window-size="$size" --screenshot="$out/$picture.png" "$@" \
		"file://$PWD/$page" >"$out/chromium.log" 2>&1 || true
	[ -s "$out/$picture.png" ] || { echo "check-pages: $picture was not drawn; see $out/chromium.log" >&2; failed=1; }
}

# a frame as wide as a telephone: headless windows are not narrower than 500 points
for page in "$out"/*.html; do
	name=$(basename "$page" .html)
	cat >"$out/frame.htm" <<HTML
<!doctype html><meta charset=utf-8><body style="margin:0;background:#888"><iframe src="$name.html"
style="border:0;width:360px;height:740px" onload="var d=this.contentDocument.documentElement;
document.title=d.scrollWidth>360?'wide':'fits'"></iframe>
HTML
	title=$(timeout 60 "$chromium" --headless --no-sandbox --disable-gpu --no-first-run --user-data-dir="$profile" \
		--allow-file-access-from-files --virtual-time-budget=2000 --dump-dom "file://$PWD/$out/frame.htm" \
		2>"$out/chromium.log" | grep -o '<title>[a-z]*' || true)
	[ "$title" = '<title>fits' ] || { echo "check-pages: $name is wider than a telephone ($title)" >&2; failed=1; }
	draw "$out/frame.htm" "$name" 360,740 --allow-file-access-from-files
done
draw "$out/ask-ja.html" ask-ja-desk 1100,700
draw "$out/move-en.html" move-en-dark 500,740 --force-dark-mode --enable-features=WebContentsForceDark
rm -f "$out/frame.htm"
[ "$failed" = 0 ] && echo "$(find "$out" -name '*.png' | wc -l) pictures are in $out"
exit "$failed"
